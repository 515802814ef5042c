// What clients ask about one session.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "daemon/protocol/job_wire.h"
#include "daemon/protocol/mcp_wire.h"
#include "daemon/protocol/overlay_wire.h"
#include "daemon/protocol/worktree_wire.h"
#include "daemon/server/answers.h"
#include "daemon/server/connection.h"
#include "daemon/server/server.h"
#include "daemon/session/worktrees.h"

namespace lares::daemon {

using namespace protocol;

namespace {

struct Request {
  Connection& from;
  Sessions& sessions;
  std::shared_ptr<Session> session;
  std::string method;
  Json params;

  template <class T>
  tl::expected<T, Error> as() const {
    return typed<T>(method, params);
  }
};
using Answer = asio::awaitable<Reply<Json>>;

// ---- the session

Answer close(Request asked) {
  auto closing = asked.session->close_and_keep();
  co_return answer(co_await std::move(closing));
}

Answer subscribe(Request asked) {
  const auto request = asked.as<SessionSubscribe>();
  if (!request) co_return tl::unexpected(request.error());
  asked.from.follow(asked.session, request->after, request->interactive && asked.from.may_change());
  co_return ok(SessionSubscribeResult{asked.session->info(), asked.session->info().last_seq});
}

Answer unsubscribe(Request asked) {
  asked.from.unfollow(asked.session->info().session_id);
  co_return ok(Nothing{});
}

Answer history(Request asked) {
  const auto request = asked.as<SessionHistory>();
  if (!request) co_return tl::unexpected(request.error());
  if (request->limit < 1 || request->limit > kHistoryMax)
    co_return no(Code::invalid_params,
                 fmt::format("{}: limit must be in 1..{}", asked.method, kHistoryMax));
  auto waiting = asked.from.room();
  co_await std::move(waiting);
  SessionHistoryResult result;
  std::int64_t at = request->after, seq = 0;
  std::size_t bytes = 0;
  while (auto event = asked.session->event_after(at, seq)) {
    bytes += event->size();
    if (static_cast<std::int64_t>(result.events.size()) == request->limit ||
        (bytes > kOutboxBytesMax / 4 && !result.events.empty())) {
      result.more = true;
      break;
    }
    at = seq;
    const Json frame = Json::parse(*event, nullptr, /*allow_exceptions=*/false);
    if (frame.is_object())
      result.events.push_back({frame["method"].get<std::string>(), frame["params"]});
  }
  co_return to_json(result);
}

Answer rewind(Request asked) {
  auto request = asked.as<SessionRewind>();
  if (!request) co_return tl::unexpected(request.error());
  auto rewinding = asked.session->rewind(std::move(*request));
  co_return answer(co_await std::move(rewinding));
}

Answer unrewind(Request asked) {
  auto going_back = asked.session->unrewind();
  co_return answer(co_await std::move(going_back));
}

Answer fork(Request asked) {
  const auto request = asked.as<SessionFork>();
  if (!request) co_return tl::unexpected(request.error());
  auto forking = asked.sessions.fork(asked.session, request->before_turn, request->after_step,
                                     request->title);
  const auto forked = co_await std::move(forking);
  if (!forked) co_return tl::unexpected(forked.error());
  co_return ok((*forked)->info());
}

Answer policy(Request asked) {
  const auto request = asked.as<SessionPolicy>();
  if (!request) co_return tl::unexpected(request.error());
  auto setting = asked.session->set_policy(request->policy);
  co_return answer(co_await std::move(setting));
}

// ---- its turns

Answer send(Request asked) {
  auto request = asked.as<PromptSend>();
  if (!request) co_return tl::unexpected(request.error());
  request->session_id = asked.session->info().session_id;
  auto sending = asked.session->send(std::move(*request));
  co_return answer(co_await std::move(sending));
}

Answer withdraw(Request asked) {
  const auto request = asked.as<PromptWithdraw>();
  if (!request) co_return tl::unexpected(request.error());
  auto withdrawing = asked.session->withdraw(request->id);
  co_return answer(co_await std::move(withdrawing));
}

Answer interrupt(Request asked) {
  const auto request = asked.as<TurnInterrupt>();
  if (!request) co_return tl::unexpected(request.error());
  if (request->withdraw) asked.session->withdraw_all();
  co_return ok(TurnInterruptResult{asked.session->interrupt(request->turn_id)});
}

Answer approve(Request asked) {
  auto request = asked.as<ApprovalReply>();
  if (!request) co_return tl::unexpected(request.error());
  auto approving = asked.session->approve(std::move(*request));
  co_return answer(co_await std::move(approving));
}

Answer reply(Request asked) {
  const auto request = asked.as<QuestionReply>();
  if (!request) co_return tl::unexpected(request.error());
  auto replying = asked.session->reply(request->item_id, request->text);
  co_return answer(co_await std::move(replying));
}

// ---- what works for it

Answer test(Request asked) {
  const auto request = asked.as<SessionTest>();
  if (!request) co_return tl::unexpected(request.error());
  auto testing = asked.session->test(request->command);
  co_return answer(co_await std::move(testing));
}

Answer jobs(Request asked) { co_return ok(asked.session->jobs()); }

Answer stop_job(Request asked) {
  const auto request = asked.as<SessionStopJob>();
  if (!request) co_return tl::unexpected(request.error());
  auto stopping = asked.session->stop_job(request->host_pid);
  co_return answer(co_await std::move(stopping));
}

Answer mcp_servers(Request asked) {
  const auto given = asked.params.find("servers");
  if (given == asked.params.end() || !given->is_structured())
    co_return no(Code::invalid_params, asked.method + ": servers must be an object or an array");
  mcp::Config config = mcp::parse_servers(nlohmann::json(*given), asked.method);
  if (const auto used = asked.session->use_servers(std::move(config.servers)); !used)
    co_return tl::unexpected(used.error());
  co_return Json{{"problems", config.problems}};
}

// ---- an editor's unsaved text

Answer hold_files(Request asked) {
  if (!asked.from.follows(asked.session->info().session_id))
    co_return no(Code::invalid_params, asked.method + ": session/subscribe comes first");
  asked.session->editor_is(&asked.from);
  co_return ok(Nothing{});
}

Answer overlay(Request asked) {
  const auto path = asked.params.find("path"), text = asked.params.find("text");
  const auto end = asked.params.end();
  const bool none = text == end || text->is_null();
  if (path == end || !path->is_string() || (!none && !text->is_string()))
    co_return no(Code::invalid_params,
                 asked.method + ": path must be a string, and text one or null");
  const auto told = asked.params.find("told");
  co_return answer(asked.session->overlay(
      path->get<std::string>(), none ? std::nullopt : std::optional(text->get<std::string>()),
      told != end && *told == Json(true)));
}

struct Method {
  std::string_view name;
  Answer (*answer)(Request);
  bool works_on_files = false;  // of the worktree, outside a turn
};
constexpr Method kMethods[] = {
    {SessionClose::kMethod, close},
    {SessionSubscribe::kMethod, subscribe},
    {SessionUnsubscribe::kMethod, unsubscribe},
    {SessionHistory::kMethod, history},
    {SessionRewind::kMethod, rewind, true},
    {SessionUnrewind::kMethod, unrewind, true},
    {SessionFork::kMethod, fork},
    {SessionPolicy::kMethod, policy},
    {PromptSend::kMethod, send},
    {PromptWithdraw::kMethod, withdraw},
    {TurnInterrupt::kMethod, interrupt},
    {ApprovalReply::kMethod, approve},
    {QuestionReply::kMethod, reply},
    {SessionTest::kMethod, test, true},
    {SessionJobs::kMethod, jobs},
    {SessionStopJob::kMethod, stop_job},
    {kSessionMcpServers, mcp_servers},
    {kSessionHoldFiles, hold_files},
    {kSessionOverlay, overlay},
};

}  // namespace

asio::awaitable<Reply<Json>> Server::about_session(Connection& from, std::string method,
                                                   Json params) {
  const auto* const known = std::ranges::find(kMethods, method, &Method::name);
  if (known == std::end(kMethods) && method != SessionGet::kMethod)
    co_return no(Code::unknown_method, "there is no method " + method);
  const auto which = typed<SessionGet>(method, params);
  if (!which) co_return tl::unexpected(which.error());
  if (method == SessionGet::kMethod) co_return answer(sessions_.look(which->session_id));
  auto opening = open(method, which->session_id);
  auto session = co_await std::move(opening);
  if (!session) co_return tl::unexpected(session.error());
  if (known->works_on_files && worktrees_.is_held((*session)->info().root))
    co_return no(Code::busy, method + ": the session's worktree is being removed");
  Request asked{from, sessions_, std::move(*session), std::move(method), std::move(params)};
  auto answering = known->answer(std::move(asked));
  auto answered = co_await std::move(answering);
  co_return answered;
}

}  // namespace lares::daemon
