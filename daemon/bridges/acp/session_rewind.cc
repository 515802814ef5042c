// /rewind and /undo, as an editor's person writes them. What going back would do is shown and asked
// first, as the terminal does.
#include <charconv>
#include <string_view>
#include <utility>

#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/bridges/acp/session.h"
#include "tools/text.h"

namespace lares::cli::acp {
namespace {

using protocol::SessionRewind, protocol::SessionRewindResult, protocol::SessionUnrewind;

constexpr const char *kDo = "rewind", *kLeave = "leave";

std::string list_of(const SessionRewindResult& result) {
  std::string out;
  for (const auto& change : result.changes)
    out += fmt::format("\n- {} `{}`{}", change.kind, change.path,
                       change.others ? ", with what others changed there since" : "");
  for (const auto& file : result.not_done)
    out += fmt::format("\n- `{}` stays as it is: {}", file.path, file.why);
  return out;
}

}  // namespace

// Editors put a blank behind a command that they complete.
bool Session::commanded(const OpenRef& open, const std::string& text) {
  std::string_view said = tools::trimmed(text);
  if (said == "/undo") return spawn(unrewind(open)), true;
  constexpr std::string_view kRewind = "/rewind";
  if (!said.starts_with(kRewind)) return false;
  said.remove_prefix(kRewind.size());
  const std::string_view number = tools::trimmed(said);
  if (number.size() == said.size() && !number.empty()) return false;  // another word
  std::int64_t turn_id = 0;
  const char* const end = number.data() + number.size();
  if (std::from_chars(number.data(), end, turn_id).ptr != end || turn_id < 0) return false;
  spawn(rewind(open, turn_id));
  return true;
}

asio::awaitable<Reply<SessionRewindResult>> Session::rewound(std::string method, Json params) {
  auto calling = world_.daemon->call(std::move(method), std::move(params));
  const auto answer = co_await std::move(calling);
  if (!answer) co_return tl::unexpected(answer.error());
  auto result = protocol::from_json<SessionRewindResult>(*answer);
  if (!result) co_return tl::unexpected(Fault{kInternal, result.error()});
  co_return std::move(*result);
}

asio::awaitable<Reply<SessionRewindResult>> Session::rewound_before(std::int64_t turn_id,
                                                                    bool dry_run) {
  SessionRewind request;
  request.session_id = id(), request.turn_id = turn_id, request.dry_run = dry_run;
  auto going_back = rewound(std::string(SessionRewind::kMethod), protocol::to_json(request));
  co_return co_await std::move(going_back);
}

asio::awaitable<void> Session::rewind(OpenRef open, std::int64_t turn_id) {
  const auto self = shared_from_this();
  const auto over = [&] {
    if (open->cancelled && !open->closed) stop_reason(open, "cancelled");
    return open->closed;
  };
  auto planning = rewound_before(turn_id, /*dry_run=*/true);
  const auto plan = co_await std::move(planning);
  if (over()) co_return;
  if (!plan) co_return close(open, tl::unexpected(plan.error()));
  const std::string call = fmt::format("rewind-{}", ++n_rewinds_);
  const auto ended = [&](const char* status) {
    update({{"sessionUpdate", "tool_call_update"}, {"toolCallId", call}, {"status", status}});
  };
  auto asking = may_rewind(call, *plan);
  if (!co_await std::move(asking)) {
    ended("failed");
    if (over()) co_return;
    say("Nothing was rewound.\n");
    co_return stop_reason(open, "end_turn");
  }
  // a turn may have gone by while nobody answered
  auto looking = rewound_before(turn_id, /*dry_run=*/true);
  const auto now = co_await std::move(looking);
  const bool same = now && now->turn_id == plan->turn_id && list_of(*now) == list_of(*plan);
  if (!same || over()) {
    ended("failed");
    if (over()) co_return;
    if (!now) co_return close(open, tl::unexpected(now.error()));
    say("Nothing was rewound: more has happened since that was asked. /rewind looks again.\n");
    co_return stop_reason(open, "end_turn");
  }
  auto going_back = rewound_before(plan->turn_id, /*dry_run=*/false);
  const auto done = co_await std::move(going_back);
  ended(done ? "completed" : "failed");
  if (!done) co_return close(open, tl::unexpected(done.error()));
  say(fmt::format("Back to before turn {}; /undo takes this back.{}\n", done->turn_id,
                  list_of(*done)));
  stop_reason(open, "end_turn");
}

asio::awaitable<void> Session::unrewind(OpenRef open) {
  const auto self = shared_from_this();
  Json params = {{"sessionId", id()}};
  auto undoing = rewound(std::string(SessionUnrewind::kMethod), std::move(params));
  const auto done = co_await std::move(undoing);
  if (!done) co_return close(open, tl::unexpected(done.error()));
  say(fmt::format("Took the rewinding back.{}\n", list_of(*done)));
  stop_reason(open, "end_turn");
}

// Anything but a yes is a no.
asio::awaitable<bool> Session::may_rewind(std::string call, SessionRewindResult plan) {
  const std::string what = fmt::format("Back to before turn {}", plan.turn_id);
  const std::string files = plan.changes.empty() && plan.not_done.empty()
                                ? "\nNo file is another than it was."
                                : list_of(plan);
  Json content = Json::array(), options = Json::array();
  content.push_back(
      {{"type", "content"},
       {"content", {{"type", "text"}, {"text", what + "; /undo takes it back." + files}}}});
  options.push_back({{"optionId", kDo}, {"name", "Rewind"}, {"kind", "allow_once"}});
  options.push_back({{"optionId", kLeave}, {"name", "Leave it"}, {"kind", "reject_once"}});
  const Json which = {{"toolCallId", call}};
  Json shown = {{"status", "pending"}, {"title", what}, {"kind", "edit"}};
  shown["content"] = std::move(content);
  shown.update(which);
  Json begun = {{"sessionUpdate", "tool_call"}};
  begun.update(shown);
  update(std::move(begun));
  const std::int64_t request = world_.editor->ask(
      "session/request_permission",
      {{"sessionId", id()}, {"toolCall", std::move(shown)}, {"options", std::move(options)}});
  asked_[call] = request;
  auto waiting = world_.editor->answered(request);
  const auto answer = co_await std::move(waiting);
  asked_.erase(call);
  const bool yes = answer && string_at(at(*answer, "outcome"), "optionId") == kDo;
  if (!answer && answer.error().code != kCancelled)
    say(fmt::format("The editor could not ask: {}. `lares rewind {}` in a terminal does it.\n",
                    answer.error().message, id()));
  co_return yes;
}

}  // namespace lares::cli::acp
