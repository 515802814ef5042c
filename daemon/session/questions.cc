// What waits for somebody's answer: ask_user, and questions of MCP servers.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "daemon/turn/toolbox.h"

namespace lares::daemon {

bool Session::somebody_is_there() const {
  return std::any_of(subscribers_.begin(), subscribers_.end(),
                     [&](Subscriber* s) { return s->interactive(info_.session_id); });
}

// An ask_user call is an item that waits already. A question of an MCP server, beside the call that
// it belongs to, becomes one: whoever can answer the one can answer the other. One at a time.
asio::awaitable<std::optional<std::string>> Session::ask(std::string question) {
  if (!somebody_is_there()) co_return std::nullopt;
  std::string waiting;
  for (const auto& [id, item] : open_) {
    if (item.state == "waiting") waiting = id;
  }
  if (!turn_ || (!waiting.empty() && waiting == waiting_item_)) co_return std::nullopt;
  std::optional<protocol::Item> own;
  if (waiting.empty()) {
    own = protocol::Item{.id = fmt::format("{}.q{}", info_.turn_id, journal_.size()),
                         .turn_id = info_.turn_id,
                         .kind = "note",
                         .name = std::string(kAskUser),
                         .state = "waiting"};
    own->arguments = protocol::dump({{"question", question}});
    waiting = own->id;
    state("waiting");
    item_updated(*own);
  }
  // Held here: another question may take its place
  const auto answered = std::make_shared<Gate>(world_.io);
  if (answered_) answered_->open();  // one of a server whose call ended without it
  answered_ = answered;
  answer_.reset();
  waiting_item_ = waiting;
  asked_.begin(world_.io, waiting);
  try {
    co_await answered->wait();
  } catch (const std::exception&) {  // the call was stopped, or the server took its question back
    if (!own) throw;
  }
  if (waiting_item_ == waiting) answered_ = nullptr, waiting_item_.clear();
  auto answer = std::exchange(answer_, std::nullopt);
  if (!own || !turn_ || info_.turn_id != own->turn_id) co_return answer;
  own->state = answer ? "done" : "cancelled";
  own->text = question + (answer ? "\n> " + *answer : "\n(not answered)");
  item_completed(*own);
  state("tool");
  co_return answer;
}

asio::awaitable<Reply<>> Session::reply(std::string item_id, std::string text) {
  const auto self = shared_from_this();
  const auto refused = [&](const char* why) {
    return tl::unexpected(
        refusal(protocol::Code::not_found, fmt::format("question/reply: {} {}", item_id, why)));
  };
  if (!answered_ || answered_->is_open() || waiting_item_ != item_id) {
    co_return refused("does not wait for an answer");
  }
  answer_ = std::move(text);
  answered_->open();
  const auto asked = asked_.of(item_id);
  if (!asked || !co_await asked->recorded())
    co_return refused("was stopped before the answer counted");
  co_return Reply<>();
}

}  // namespace lares::daemon
