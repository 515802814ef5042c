// What waits for somebody's answer: ask_user, and questions of MCP servers.
#include <algorithm>
#include <map>
#include <utility>

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <fmt/format.h>

#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "daemon/turn/toolbox.h"

namespace lares::daemon {

bool Session::somebody_is_there() const {
  const auto person = [&](Subscriber* s) { return s->interactive(info_.session_id); };
  return std::ranges::any_of(subscribers_, person) || std::ranges::any_of(coming_, person);
}

// What waits for a person does so no longer, where the session is not to wait.
void Session::go_on_if_unattended() {
  if (info_.settings.unattended != "skip" || somebody_is_there()) return;
  permissions_.stop();
  if (question_) question_->settled.open();
}

// An ask_user call is an item that waits already. A question of an MCP server, beside the call that
// it belongs to, becomes one: whoever can answer the one can answer the other. One at a time: a
// server's gives way to the model's, and is not put while another waits.
asio::awaitable<std::optional<std::string>> Session::ask(std::string question) {
  if (!turn_ || !somebody_is_there()) co_return std::nullopt;
  const auto call = std::ranges::find_if(open_, [](const auto& open) {
    return open.second.kind == "tool" && open.second.state == "waiting";
  });
  const bool own = call == open_.end();
  const bool waits = question_ && !question_->settled.is_open();
  if (waits && (own || question_->item_id == call->first)) co_return std::nullopt;
  if (waits) question_->settled.open();
  // Held here: another may take its place
  const auto waiting = std::make_shared<Question>(
      Question{.item_id = own ? fmt::format("{}.q{}", info_.turn_id, journal_.size()) : call->first,
               .settled = Gate(world_.io)});
  question_ = waiting;
  asked_.begin(world_.io, waiting->item_id);
  if (own) {
    protocol::Item item{.id = waiting->item_id,
                        .turn_id = info_.turn_id,
                        .kind = "note",
                        .name = std::string(kAskUser),
                        .state = "waiting"};
    item.arguments = protocol::dump({{"question", question}});
    state("waiting");
    item_updated(item);
  }
  try {
    co_await waiting->settled.wait();
  } catch (const std::exception&) {  // the call was stopped, or the server took its question back
    if (question_ == waiting) question_ = nullptr;
    if (!own) throw;
  }
  if (question_ == waiting) question_ = nullptr;
  // The stop opens it before it cancels the call: that is not that nobody is there.
  if (!own && !waiting->answer && turn_ && turn_->stop.requested())
    throw boost::system::system_error(asio::error::operation_aborted);
  const auto item = open_.find(waiting->item_id);  // gone: the turn has ended, and told of it
  if (!own || item == open_.end()) co_return waiting->answer;
  complete_question(item->second, waiting->answer);
  if (!question_) state("tool");
  co_return waiting->answer;
}

// A server's: its item says what was asked.
void Session::complete_question(protocol::Item item, const std::optional<std::string>& answer) {
  const auto arguments = protocol::Json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
  const auto question = arguments.is_object() ? arguments.find("question") : arguments.end();
  if (question != arguments.end() && question->is_string())
    item.text = question->get<std::string>();
  item.text += answer ? fmt::format("\n> {}", *answer) : "\n(not answered)";
  item.state = answer ? "done" : "cancelled";
  item_completed(item);
}

// A server may ask on when its call is over, but not when the turn is: nobody is shown it then. It
// hears what the item says.
void Session::give_up_questions() {
  for (const auto& [id, item] : std::map(open_))
    if (item.kind == "note" && item.state == "waiting")
      complete_question(item,
                        question_ && question_->item_id == id ? question_->answer : std::nullopt);
  if (question_) question_->settled.open();
}

asio::awaitable<Reply<>> Session::reply(std::string item_id, std::string text) {
  const auto self = shared_from_this();
  const auto refused = [&](const char* why) {
    return tl::unexpected(
        refusal(protocol::Code::not_found, fmt::format("question/reply: {} {}", item_id, why)));
  };
  if (!question_ || question_->settled.is_open() || question_->item_id != item_id) {
    co_return refused("does not wait for an answer");
  }
  question_->answer = std::move(text);
  question_->settled.open();
  const auto asked = asked_.of(item_id);
  if (!asked || !co_await asked->recorded())
    co_return refused("was stopped before the answer counted");
  co_return Reply<>();
}

}  // namespace lares::daemon
