#include "daemon/bridges/acp/session.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/bridges/acp/options.h"
#include "daemon/client/prompt_id.h"
#include "daemon/protocol/overlay_wire.h"
#include "daemon/protocol/turn_reasons.h"
#include "daemon/shown/text.h"
#include "daemon/skills/skills.h"

namespace lares::cli::acp {
namespace {

struct Command {
  const char *name, *what, *hint;
};
constexpr Command kCommands[] = {
    {"ask", "Answer a question and change nothing", "the question"},
    {"compact", "Sum the conversation up, and go on with that", "what is to be kept of it"},
    {"rewind", "Back to before the last turn, with the files it changed", "or before this turn"},
    {"undo", "Take the last rewinding back", ""},
};

bool is_command(std::string_view name) {
  return std::ranges::any_of(kCommands, [&](const Command& c) { return name == c.name; });
}

template <class T, class F>
void on(const protocol::Message& message, F f) {
  if (message.method != T::kNotification) return;
  if (const auto typed = protocol::from_json<T>(message.params)) f(*typed);
}

const char* stop_reason_of(const std::string& reason) {
  if (reason == protocol::reason::kCancelled) return "cancelled";
  if (reason == protocol::reason::kMaxTokens || reason == protocol::reason::kContextFull)
    return "max_tokens";
  if (reason == protocol::reason::kMaxSteps) return "max_turn_requests";
  return reason == protocol::reason::kEndTurn || reason == protocol::reason::kRepetition ||
                 reason == protocol::reason::kUnfinished
             ? "end_turn"
             : nullptr;  // null: it failed
}

}  // namespace

Session::Session(const World& world, protocol::SessionInfo info, const std::string& cwd)
    : world_(world),
      info_(std::move(info)),
      root_(info_.root, cwd),
      opened_(world.io),
      view_(root_, world.can.notices,
            {[this](Json update) { this->update(std::move(update)); },
             [this](const std::string& prompt_id) { return mine_.contains(prompt_id); }}),
      unsaved_(world.io, *world.editor, *world.agreement, root_, world.can.writes_files),
      last_seq_(info_.last_seq),
      turn_id_(info_.turn_id) {}

void Session::spawn(asio::awaitable<void> work) {
  const auto over = [self = shared_from_this()](std::exception_ptr thrown) {
    if (!thrown) return;
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      self->world_.log(fmt::format("session {}: {}", self->id(), e.what()));
    }
  };
  asio::co_spawn(world_.io, std::move(work), over);
}

// Editors drop what is about a session whose opening they have not been answered.
void Session::update(Json update) {
  if (!opened_.is_open() && !replaying_) return held_.push_back(std::move(update));
  world_.editor->notify("session/update", {{"sessionId", id()}, {"update", std::move(update)}});
}

void Session::say(const std::string& text) {
  const Json block = {{"type", "text"}, {"text", text}};
  update({{"sessionUpdate", "agent_message_chunk"}, {"content", block}});
}

void Session::opened() {
  opened_.open();
  for (auto& update : std::exchange(held_, {})) this->update(std::move(update));
  Json commands = Json::array();
  for (const auto& [name, what, hint] : kCommands) {
    Json command = {{"name", name}, {"description", what}};
    if (*hint) command["input"] = {{"hint", hint}};
    commands.push_back(std::move(command));
  }
  for (const auto& skill : daemon::find_skills(info_.root, daemon::skills_home()).all)
    if (skill.for_people && !is_command(skill.name))
      commands.push_back({{"name", skill.name},
                          {"description", skill.description},
                          {"input", {{"hint", "what it is to work on"}}}});
  update(
      {{"sessionUpdate", "available_commands_update"}, {"availableCommands", std::move(commands)}});
}

void Session::notified(const protocol::Message& message) {
  if (const Json& seq = at(message.params, "seq"); seq.is_number_integer()) {
    if (seq.get<std::int64_t>() <= last_seq_) return;
    last_seq_ = seq.get<std::int64_t>();
  }
  if (message.method == protocol::kSessionOverlayWanted)
    return spawn(look(string_at(message.params, "path"), at(message.params, "save") == Json(true)));
  view_.show(message);
  on<protocol::TurnStarted>(message, [&](const auto& x) {
    turn_id_ = x.turn_id;
    if (const auto open = find(x.prompt_id)) open->turn_id = x.turn_id;
  });
  on<protocol::ItemUpdated>(message, [&](const auto& x) { asks(x.item); });
  on<protocol::ItemSnapshot>(message, [&](const auto& x) { asks(x.item); });
  on<protocol::ItemCompleted>(message, [&](const auto& x) {
    settled(x.item.id);
    watch(x.item);
    if (x.item.kind != "user") return;
    if (const auto open = find(x.item.prompt_id)) open->turn_id = x.item.turn_id;
  });
  on<protocol::PromptWithdrawn>(message, [&](const auto& x) {
    if (const auto open = find(x.id)) stop_reason(open, "cancelled");
  });
  on<protocol::TurnEnded>(message, [&](const auto& x) { turn_ended(x); });
  on<protocol::SessionUpdated>(message, [&](const auto& x) {
    if (!x.policy.empty()) mode_changed(x.policy);
  });
}

void Session::mode_changed(const std::string& policy) {
  if (mode() == policy) return;
  info_.settings.policy = policy;
  update({{"sessionUpdate", "current_mode_update"}, {"currentModeId", policy}});
  update({{"sessionUpdate", "config_option_update"}, {"configOptions", options_json(mode())}});
}

// ---- prompts

Session::OpenRef Session::find(const std::string& prompt_id) const {
  const auto it = std::find_if(open_.begin(), open_.end(),
                               [&](const OpenRef& open) { return open->prompt_id == prompt_id; });
  return it == open_.end() ? nullptr : *it;
}

void Session::close(const OpenRef& open, const Reply<Json>& reply) {
  if (std::exchange(open->closed, true)) return;
  if (open->turn_id == 0) unsaved_.unread(open->told);
  std::erase(open_, open);
  world_.editor->answer(open->request_id, reply);
}

void Session::stop_reason(const OpenRef& open, const char* reason) {
  close(open, Json{{"stopReason", open->cancelled ? "cancelled" : reason}});
}

void Session::turn_ended(const protocol::TurnEnded& ended) {
  turn_id_ = 0;
  question_.clear();
  if (std::exchange(servers_wait_, false)) spawn(bring_servers_late());
  const char* const reason = stop_reason_of(ended.reason);
  std::vector<OpenRef> of_it;
  std::copy_if(open_.begin(), open_.end(), std::back_inserter(of_it),
               [&](const OpenRef& open) { return open->turn_id == ended.turn_id; });
  if (reason && !ended.message.empty() && !of_it.empty()) view_.notice("warning", ended.message);
  const std::string why =
      ended.reason == protocol::reason::kCrashed
          ? "the daemon died during this turn; what it did is kept, a new prompt goes on"
          : ended.message;
  for (const auto& open : of_it) {
    if (reason || open->cancelled)
      stop_reason(open, reason ? reason : "cancelled");
    else
      close(open, tl::unexpected(Fault{
                      kInternal,
                      fmt::format("session/prompt: {}",
                                  why.empty() ? "the turn failed; see the daemon's log" : why)}));
  }
}

void Session::prompt(Json request_id, const Json& blocks) {
  auto prompt = read_prompt(blocks, root_);
  if (!prompt) return world_.editor->answer(request_id, tl::unexpected(prompt.error()));
  const auto open = std::make_shared<Open>(
      Open{.request_id = std::move(request_id), .prompt_id = fresh_prompt_id()});
  mine_.insert(open->prompt_id);
  open_.push_back(open);
  if (!question_.empty()) return spawn(reply_question(open, std::move(*prompt)));
  if (commanded(open, prompt->text)) return;
  std::string mode;
  if (prompt->text.starts_with("/ask ") || prompt->text.starts_with("/ask\n"))
    mode = "ask", prompt->text.erase(0, 5);
  spawn(deliver(open, std::move(*prompt), std::move(mode)));
}

// Again where the connection is lost before the answer: for what does nothing the second time.
asio::awaitable<Reply<Json>> Session::insist(std::string method, Json params) {
  const auto self = shared_from_this();
  for (int n = 1;; ++n) {
    auto calling = world_.daemon->call(method, params);
    auto reply = co_await std::move(calling);
    if (reply || !reply.error().lost || n == kSendsMax) co_return reply;
  }
}

asio::awaitable<void> Session::deliver(OpenRef open, Prompt prompt, std::string mode) {
  const auto self = shared_from_this();
  if (world_.can.reads_files) {
    for (const auto& file : prompt.files) unsaved_.watch(file);
    auto looking = unsaved_.notice(id());
    auto notice = co_await std::move(looking);
    prompt.text += notice.text;
    open->told = std::move(notice.told);
    for (auto& held : notice.files) {  // one connection: the daemon hears of them before the prompt
      auto telling = tell_overlay(std::move(held), /*told=*/true);
      co_await std::move(telling);
    }
  }
  protocol::PromptSend send;
  send.session_id = id(), send.id = open->prompt_id, send.content = std::move(prompt.text),
  send.mode = std::move(mode);
  send.delivery = "steer";  // what is written while a turn runs is for that turn
  const Json params = protocol::to_json(send);
  Reply<Json> sent;
  for (int n = 0; n < kSendsMax; ++n) {  // the same id twice is the same prompt
    auto reaching = world_.daemon->reachable();
    const auto reached = co_await std::move(reaching);
    if (open->closed) {  // it was cancelled while the daemon was away
      unsaved_.unread(open->told);
      co_return;
    }
    if (!reached) {
      sent = tl::unexpected(reached.error());
    } else {
      auto sending = world_.daemon->call_now(std::string(protocol::PromptSend::kMethod), params);
      sent = co_await std::move(sending);
    }
    if (sent || !sent.error().lost) break;
  }
  if (open->cancelled && (sent || open->closed)) {
    auto taking_back = withdraw(open->prompt_id);
    co_return co_await std::move(taking_back);
  }
  if (!sent && open->cancelled)
    stop_reason(open, "cancelled");
  else if (!sent)
    close(open, tl::unexpected(std::move(sent.error())));
}

asio::awaitable<void> Session::withdraw(std::string prompt_id) {
  const auto self = shared_from_this();
  protocol::PromptWithdraw request;
  request.session_id = id(), request.id = std::move(prompt_id);
  auto asking = insist(std::string(protocol::PromptWithdraw::kMethod), protocol::to_json(request));
  const auto answer = co_await std::move(asking);
  if (!answer)
    world_.log(fmt::format("session {}: {}", id(), answer.error().message));
  else if (const auto open = find(request.id); open && declared(*answer, {"withdrawn"}))
    stop_reason(open, "cancelled");
}

asio::awaitable<void> Session::interrupt() {
  const auto self = shared_from_this();
  if (turn_id_ == 0) co_return;
  protocol::TurnInterrupt request;
  request.session_id = id(), request.turn_id = turn_id_;  // not one that begins meanwhile
  auto asking = insist(std::string(protocol::TurnInterrupt::kMethod), protocol::to_json(request));
  const auto answer = co_await std::move(asking);
  if (!answer) world_.log(fmt::format("session {}: {}", id(), answer.error().message));
}

void Session::cancel() {
  const auto all = open_;
  // The last first: what waits is not to begin
  for (auto open = all.rbegin(); open != all.rend(); ++open) {
    (*open)->cancelled = true;
    if (world_.daemon->up()) {
      spawn(withdraw((*open)->prompt_id));
    } else {
      to_withdraw_.push_back((*open)->prompt_id);
      stop_reason(*open, "cancelled");
    }
  }
  if (turn_id_ != 0 && world_.daemon->up()) spawn(interrupt());
}

bool Session::cancel_prompt(const Json& request_id) {
  for (const auto& open : open_) {
    if (open->request_id != request_id) continue;
    open->cancelled = true;
    if (world_.daemon->up())
      spawn(withdraw(open->prompt_id));
    else
      to_withdraw_.push_back(open->prompt_id), stop_reason(OpenRef(open), "cancelled");
    return true;
  }
  return false;
}

asio::awaitable<Reply<>> Session::set_mode(std::string mode) {
  const auto self = shared_from_this();
  protocol::SessionPolicy request;
  request.session_id = id(), request.policy = mode;
  auto asking = insist(std::string(protocol::SessionPolicy::kMethod), protocol::to_json(request));
  const auto answer = co_await std::move(asking);
  if (!answer) co_return tl::unexpected(answer.error());
  mode_changed(mode);
  co_return Reply<>();
}

void Session::leave(const Fault& why) {
  while (!open_.empty()) {
    if (why.code == kCancelled)
      stop_reason(OpenRef(open_.front()), "cancelled");
    else
      close(OpenRef(open_.front()), tl::unexpected(why));
  }
  for (const auto& [item, request] : std::exchange(asked_, {})) world_.editor->withdraw(request);
  held_.clear();
  opened_.open();  // what waited for it finds nothing to ask any more
}

}  // namespace lares::cli::acp
