#include "daemon/mcp/provider.h"

#include <algorithm>
#include <stop_token>
#include <utility>

#include <fmt/format.h>

#include "daemon/mcp/catalogue.h"
#include "daemon/mcp/turn_report.h"
#include "daemon/mcp/turn_watch.h"
#include "daemon/on_disk_pool.h"
#include "daemon/protocol/turn_reasons.h"
#include "daemon/repository.h"
#include "daemon/session/title.h"
#include "daemon/session/worktrees.h"
#include "daemon/shown/asked_call.h"
#include "daemon/shown/change_set.h"
#include "daemon/state_dir.h"
#include "daemon/utf8.h"
#include "daemon/version.h"
#include "mcp/declining.h"

namespace lares::daemon {

namespace rpc = mcp::server;
using rpc::Call;

namespace {

constexpr std::size_t kPromptIdBytes = 32;
constexpr std::size_t kFilesInTextMax = 50;

// What a tool says: for models as text, for programs as it is.
rpc::Json tool_result(std::string text, rpc::Json structured, bool failed = false) {
  rpc::Json content = rpc::Json::array();
  content.push_back({{"type", "text"}, {"text", std::move(text)}});
  rpc::Json result;
  result["content"] = std::move(content);
  if (!structured.is_null()) result["structuredContent"] = std::move(structured);
  if (failed) result["isError"] = true;
  return result;
}

rpc::Json tool_failed(std::string why) {
  return tool_result(std::move(why), nullptr, /*failed=*/true);
}
rpc::Json tool_failed(const protocol::Error& error) {
  return tool_failed(error.hint.empty() ? error.message : error.message + "; " + error.hint);
}

std::string in_words(const TurnReport& report) {
  if (report.reason == protocol::reason::kEndTurn) return "finished";
  if (report.reason == protocol::reason::kCancelled) return "stopped";
  if (protocol::reason::is_limit(report.reason)) return "limited";
  return "failed";
}

std::string bounded(const std::string& text, const std::string& session) {
  if (text.size() <= kMcpAnswerBytesMax) return text;
  return fmt::format("{}\n[{} more bytes; `lares log {}` shows them]",
                     utf8_prefix(text, kMcpAnswerBytesMax), text.size() - kMcpAnswerBytesMax,
                     session);
}

rpc::Json approval_question(const protocol::Item& item) {
  rpc::Json decision = {{"type", "string"},
                        {"title", "Decision"},
                        {"enum", rpc::Json::array({"allow", "allow for this session", "deny"})}};
  if (item.likes.empty()) decision["enum"] = rpc::Json::array({"allow", "deny"});
  rpc::Json schema = {{"type", "object"}};
  schema["properties"]["decision"] = std::move(decision);
  schema["properties"]["message"] = {{"type", "string"},
                                     {"title", "Message"},
                                     {"description", "Of a denial: what the agent reads with it"}};
  schema["required"] = rpc::Json::array({"decision"});
  const auto call = shown::asked_call(item);
  return {
      {"mode", "form"},
      {"message", fmt::format("Lares asks whether this may run ({}):\n\n{}: {}{}{}", item.why,
                              item.name, call.what, call.lines.empty() ? "" : "\n", call.lines)},
      {"requestedSchema", std::move(schema)}};
}

rpc::Json free_question(const protocol::Item& item) {
  rpc::Json schema = {{"type", "object"}};
  schema["properties"]["answer"] = {{"type", "string"}, {"title", "Answer"}};
  schema["required"] = rpc::Json::array({"answer"});
  return {{"mode", "form"},
          {"message", argument_of(item, "question")},
          {"requestedSchema", std::move(schema)}};
}

std::string said(const rpc::Json& result, const char* key) {
  const bool there = result.contains("content") && result["content"].is_object() &&
                     result["content"].contains(key) && result["content"][key].is_string();
  return there ? result["content"][key].get<std::string>() : "";
}

// What a task came to, for programs; and as `text`, for models.
rpc::Json task_result(const protocol::SessionInfo& info, const TurnReport& report,
                      const std::string& branch, std::string& text) {
  const bool runs = report.turn_id != 0 && report.reason.empty() && info.turn_id == report.turn_id;
  const std::string state = runs ? info.state : report.turn_id == 0 ? "idle" : in_words(report);
  rpc::Json files = rpc::Json::array();
  std::string listed;
  std::size_t n = 0;
  for (const auto& file : files_of(report.changes)) {
    files.push_back({{"path", file.path}, {"added", file.n_added}, {"deleted", file.n_deleted}});
    if (++n <= kFilesInTextMax)
      listed += fmt::format("  {} +{} -{}\n", file.path, file.n_added, file.n_deleted);
  }
  if (n > kFilesInTextMax) listed += fmt::format("  and {} more\n", n - kFilesInTextMax);
  text = fmt::format("[session {}: {}", info.session_id, state);
  if (runs && state == "waiting")
    text += fmt::format("; it waits for an answer, which `lares attach {}` can give",
                        info.session_id);
  else if (runs)
    text += "; call task_status again for how it goes on";
  else if (state != "finished" && !report.message.empty())
    text += ": " + report.message;
  text += "]\n";
  if (!report.answer.empty()) text += "\n" + bounded(report.answer, info.session_id) + "\n";
  if (!listed.empty()) text += "\nchanged:\n" + listed;
  if (!report.changes.complete()) text += "\ncommands ran that may have changed other files too\n";
  if (!report.unanswered.empty())
    text += fmt::format("\ndid not run, because nobody was there to allow it:\n  {}\n",
                        fmt::join(report.unanswered, "\n  "));
  if (!branch.empty())
    text += fmt::format(
        "\nit worked in {}, on the branch {}; `lares apply {}` brings the changes into the user's "
        "files\n",
        info.root, branch, info.session_id);
  rpc::Json structured = {{"session", info.session_id},
                          {"turn", report.turn_id},
                          {"state", state},
                          {"stop_reason", report.reason},
                          {"answer", bounded(report.answer, info.session_id)}};
  if (!report.message.empty()) structured["message"] = report.message;
  structured["root"] = info.root;
  if (!branch.empty()) structured["branch"] = branch;
  structured["files"] = std::move(files), structured["complete"] = report.changes.complete(),
  structured["unanswered"] = report.unanswered, structured["steps"] = report.usage.steps;
  return structured;
}

}  // namespace

rpc::Info McpProvider::info() const {
  return {"lares", "Lares", kVersion, std::string(kMcpInstructions)};
}

rpc::Json McpProvider::tools() {
  static const Json kTools = mcp_tools();
  return kTools;
}

asio::awaitable<McpProvider::Answer> McpProvider::call_tool(Call& call, std::string name,
                                                            const Json& given) {
  const Json all = tools();
  if (std::none_of(all.begin(), all.end(),
                   [&](const Json& tool) { return tool["name"] == name; })) {
    const rpc::Refusal refusal{rpc::kInvalidParams,
                               fmt::format("there is no tool {}; tools/list lists them", name)};
    co_return tl::unexpected(refusal);
  }
  if (const std::string wrong = wrong_argument(name, given); !wrong.empty())
    co_return tool_failed(wrong);
  Json arguments = Json::object();
  for (const auto& [key, value] : given.items())
    if (!value.is_null()) arguments[key] = value;
  auto calling = name == "ask_repo"      ? ask_repo(call, std::move(arguments))
                 : name == "review"      ? review(call, std::move(arguments))
                 : name == "run_task"    ? run_task(call, std::move(arguments))
                 : name == "task_status" ? task_status(std::move(arguments))
                                         : task_cancel(std::move(arguments));
  co_return co_await std::move(calling);
}

// ---- turns

std::string McpProvider::root_for(const Call& call, const Json& arguments) const {
  const std::string said = arguments.value("root", "");
  return said.empty() ? call.root() : said;
}

asio::awaitable<Reply<McpProvider::Turn>> McpProvider::begin(Call& call, std::string root,
                                                             std::string mode, std::string prompt,
                                                             bool worktree) {
  if (root.empty()) {
    const protocol::Error error{
        .code = protocol::Code::invalid_params,
        .message =
            "which repository this is about was not said; give root, or start `lares mcp` in it"};
    co_return tl::unexpected(error);
  }
  if (prompt.size() > protocol::kPromptBytesMax) {
    const protocol::Error error{.code = protocol::Code::invalid_params,
                                .message = fmt::format("what is to be done is longer than {} bytes",
                                                       protocol::kPromptBytesMax),
                                .hint = "put it into a file of the repository and name that"};
    co_return tl::unexpected(error);
  }
  protocol::SessionCreate request;
  request.root = std::move(root);
  request.settings.mode = mode;
  request.settings.unattended = call.can_be_asked("elicitation") ? "wait" : "skip";
  Turn turn;
  Sessions::InWorktree own;
  if (worktree) {
    request.title = title_of(prompt);  // its branch is called by it
    std::function<bool()> given_up = [&call] { return call.cancelled(); };
    auto making = sessions_.create_in_worktree(std::move(request), std::move(given_up));
    auto made = co_await std::move(making);
    if (!made) co_return tl::unexpected(made.error());
    own = std::move(*made);
    turn.session = own.session, turn.branch = own.worktree.branch;
  } else {
    auto made = sessions_.create(request);
    if (!made) co_return tl::unexpected(made.error());
    turn.session = *made;
  }
  turn.watch = std::make_shared<TurnWatch>(sessions_.world().io, turn.session,
                                           call.can_be_asked("elicitation"));
  protocol::PromptSend send;
  send.session_id = turn.session->info().session_id;
  send.id = random_hex(kPromptIdBytes);
  send.content = std::move(prompt);
  send.mode = std::move(mode);
  auto sending = turn.session->send(std::move(send));
  const auto sent = co_await std::move(sending);
  if (!sent) {
    if (own.session) {
      auto taking_back = sessions_.take_back(std::move(own));
      co_await std::move(taking_back);
    } else {
      turn.session->close();
    }
    co_return tl::unexpected(sent.error());
  }
  turn.id = sent->turn_id;
  co_return turn;
}

asio::awaitable<rpc::Asked::How> McpProvider::pass_on(Call& call, Turn turn, TurnWatch& watch,
                                                      bool goes_on) {
  const protocol::Item item = *watch.asking();
  const bool approval = item.state == "asking";
  call.keep(
      {{"session", turn.session->info().session_id}, {"turn", turn.id}, {"branch", turn.branch}});
  auto asking = call.ask(item.id, "elicitation/create",
                         approval ? approval_question(item) : free_question(item));
  // By a terminal or an editor: then the client's form closes
  watch.on_settled([&call, key = item.id] { call.withdraw(key); });
  const rpc::Asked asked = co_await std::move(asking);
  watch.on_settled(nullptr);
  // It reads on, and says nothing more: where nobody else finds the turn, it has no answer to wait
  // for.
  const bool silent = asked.how == rpc::Asked::gone && !call.ended().stop_requested() && !goes_on;
  if (asked.how == rpc::Asked::pending || asked.how == rpc::Asked::withdrawn ||
      (asked.how == rpc::Asked::gone && !silent))
    co_return asked.how;
  const bool accepted = asked.how == rpc::Asked::answered && asked.result()["action"] == "accept";
  const bool declined = asked.how == rpc::Asked::answered && asked.result()["action"] == "decline";
  const std::string nobody = declined ? "the user declined to answer"
                                      : "nobody answered, which is no denial";
  if (approval) {
    const std::string decision = accepted ? said(asked.result(), "decision") : "";
    protocol::ApprovalReply reply;
    reply.session_id = turn.session->info().session_id, reply.item_id = item.id;
    reply.decision = decision.starts_with("allow") ? "allow" : "deny";
    reply.scope = decision == "allow for this session" ? "session" : "once";
    reply.message = accepted ? said(asked.result(), "message") : nobody;
    auto approving = turn.session->approve(std::move(reply));
    (void)co_await std::move(approving);  // answered by somebody else meanwhile: that one counts
  } else {
    std::string answer = accepted ? said(asked.result(), "answer") : "";
    if (item.kind == "note") {  // an MCP server's, which would take a sentence for its value
      if (!accepted) answer = declined ? mcp::kDecline : mcp::kCancel;
    } else if (answer.empty()) {
      answer = nobody;
    }
    auto replying = turn.session->reply(item.id, std::move(answer));
    (void)co_await std::move(replying);
  }
  watch.answered(item.id);
  co_return silent ? rpc::Asked::failed : asked.how;
}

asio::awaitable<McpProvider::End> McpProvider::follow(Call& call, Turn turn, bool goes_on) {
  if (!turn.watch)
    turn.watch = std::make_shared<TurnWatch>(sessions_.world().io, turn.session,
                                             call.can_be_asked("elicitation"));
  TurnWatch& watch = *turn.watch;
  watch.follow(turn.id);
  const std::stop_callback on_end(call.ended(), [&] { watch.wake(); });
  double n_told = 0;
  std::string told;
  for (;;) {
    if (watch.ended()) co_return End::over;
    if (call.ended().stop_requested()) {
      if (call.cancelled() || !goes_on) turn.session->interrupt(turn.id);
      co_return End::left;
    }
    if (watch.asking() && call.can_be_asked("elicitation")) {
      auto passing = pass_on(call, turn, watch, goes_on);
      const rpc::Asked::How how = co_await std::move(passing);
      if (how == rpc::Asked::pending) co_return End::pending;
      if (how == rpc::Asked::gone && !call.ended().stop_requested()) co_return End::left;
      continue;
    }
    std::string now = watch.step() > 0 ? fmt::format("step {}: {}", watch.step() + 1, watch.doing())
                                       : watch.doing();
    if (!now.empty() && now != told) call.progress(++n_told, 0, now), told = std::move(now);
    co_await watch.changed();
  }
}

// ---- tools

asio::awaitable<Reply<TurnReport>> McpProvider::reported(Recorded session, std::int64_t turn_id) {
  const auto read = [session, turn_id] { return report_of(session, turn_id); };
  auto reading = on_disk_pool(disk_, read);
  auto report = co_await std::move(reading);
  if (report) co_return std::move(*report);
  const protocol::Error error{.code = protocol::Code::internal,
                              .message = fmt::format("read what session {} did: {}",
                                                     session.info.session_id, report.error())};
  co_return tl::unexpected(error);
}

// The turn of a round before this one, which asked something, or else one that begins.
asio::awaitable<Reply<McpProvider::Turn>> McpProvider::begin_or_resume(Call& call, std::string root,
                                                                       std::string mode,
                                                                       std::string prompt,
                                                                       bool worktree) {
  if (!call.kept().is_object()) {
    auto beginning = begin(call, std::move(root), std::move(mode), std::move(prompt), worktree);
    co_return co_await std::move(beginning);
  }
  const Json kept = call.kept();
  auto opening = sessions_.open(kept["session"].get<std::string>());
  const auto found = co_await std::move(opening);
  if (!found) co_return tl::unexpected(found.error());
  Turn turn;
  turn.session = *found, turn.id = kept["turn"].get<std::int64_t>();
  turn.branch = kept["branch"].get<std::string>();
  co_return turn;
}

asio::awaitable<Reply<std::optional<McpProvider::Told>>> McpProvider::told(Call& call,
                                                                           std::string root,
                                                                           std::string prompt) {
  auto beginning = begin_or_resume(call, std::move(root), "ask", std::move(prompt),
                                   /*worktree=*/false);
  const auto turn = co_await std::move(beginning);
  if (!turn) co_return tl::unexpected(turn.error());
  auto following = follow(call, *turn, /*goes_on=*/false);
  const End end = co_await std::move(following);
  const Recorded recorded(*turn->session);
  if (end == End::over || call.ended().stop_requested()) {
    auto leaving = turn->session->put_away(turn->id);  // no tool asks it a second question
    co_await std::move(leaving);
  }
  if (end != End::over) co_return std::nullopt;
  auto reading = reported(recorded, turn->id);
  auto report = co_await std::move(reading);
  if (!report) co_return tl::unexpected(report.error());
  co_return Told{std::move(*report), recorded.info.session_id};
}

asio::awaitable<McpProvider::Answer> McpProvider::ask_repo(Call& call, Json arguments) {
  auto asking = told(call, root_for(call, arguments), arguments["question"].get<std::string>());
  const auto done = co_await std::move(asking);
  if (!done) co_return tool_failed(done.error());
  if (!*done) co_return Json::object();
  const auto& [report, id] = **done;
  Json structured = {
      {"answer", bounded(report.answer, id)}, {"session", id}, {"stop_reason", report.reason}};
  if (report.reason == protocol::reason::kEndTurn)
    co_return tool_result(bounded(report.answer, id), std::move(structured));
  co_return tool_result(
      fmt::format("the question was not answered to its end: {}{}{}\n\n{}", report.reason,
                  report.message.empty() ? "" : ", ", report.message, bounded(report.answer, id)),
      std::move(structured), /*failed=*/true);
}

asio::awaitable<McpProvider::Answer> McpProvider::review(Call& call, Json arguments) {
  const auto root = repository_root(root_for(call, arguments));
  if (!root)
    co_return tool_failed(
        root_for(call, arguments).empty()
            ? "which repository this is about was not said; give root, or start `lares mcp` in it"
            : root.error());
  const auto look = [&] { return shown::change_set(root->root, arguments.value("range", ""), {}); };
  const auto changes = co_await on_disk_pool(disk_, look);
  if (!changes) co_return tool_failed(changes.error());
  Json structured = {{"what", changes->what},
                     {"findings", ""},
                     {"session", ""},
                     {"stop_reason", "nothing_to_review"},
                     {"left_out", changes->left_out}};
  if (changes->diff.empty() && changes->left_out.empty())
    co_return tool_result("nothing to review in " + changes->what, std::move(structured));
  auto asking = told(call, root->root, shown::review_prompt(*changes));
  const auto done = co_await std::move(asking);
  if (!done) co_return tool_failed(done.error());
  if (!*done) co_return Json::object();
  const auto& [report, id] = **done;
  structured["findings"] = bounded(report.answer, id), structured["session"] = id,
  structured["stop_reason"] = report.reason;
  std::string text = bounded(report.answer, id);
  if (!changes->left_out.empty())
    text += fmt::format("\n\n[too long to be shown to the reviewer whole: {}]",
                        fmt::join(changes->left_out, ", "));
  co_return tool_result(std::move(text), std::move(structured), report.reason != "end_turn");
}

asio::awaitable<McpProvider::Answer> McpProvider::run_task(Call& call, Json arguments) {
  auto beginning = begin_or_resume(call, root_for(call, arguments), "work",
                                   arguments["prompt"].get<std::string>(),
                                   arguments.value("worktree", false));
  const auto turn = co_await std::move(beginning);
  if (!turn) co_return tool_failed(turn.error());
  auto following = follow(call, *turn, /*goes_on=*/true);
  const End end = co_await std::move(following);
  if (end == End::pending || call.ended().stop_requested()) co_return Json::object();
  // Else it is over, or waits for an answer that this client will not give: that it says
  const Recorded recorded(*turn->session);
  auto reading = reported(recorded, turn->id);
  const auto read = co_await std::move(reading);
  if (!read) co_return tool_failed(read.error());
  std::string text;
  Json structured = task_result(recorded.info, *read, turn->branch, text);
  const bool failed = end == End::over && structured["state"] != "finished";
  co_return tool_result(std::move(text), std::move(structured), failed);
}

asio::awaitable<McpProvider::Answer> McpProvider::task_status(Json arguments) {
  auto opening = sessions_.open(arguments["session"].get<std::string>());
  const auto session = co_await std::move(opening);
  if (!session) co_return tool_failed(session.error());
  auto looking = sessions_.world().worktrees->find((*session)->info().root);
  const auto worktree = co_await std::move(looking);
  const Recorded recorded(**session);
  auto reading = reported(recorded, 0);
  const auto read = co_await std::move(reading);
  if (!read) co_return tool_failed(read.error());
  std::string text;
  Json structured = task_result(recorded.info, *read, worktree ? worktree->branch : "", text);
  co_return tool_result(std::move(text), std::move(structured));
}

asio::awaitable<McpProvider::Answer> McpProvider::task_cancel(Json arguments) {
  auto opening = sessions_.open(arguments["session"].get<std::string>());
  const auto session = co_await std::move(opening);
  if (!session) co_return tool_failed(session.error());
  const bool stopped = (*session)->interrupt(0) != 0;
  if (stopped) co_await (*session)->ended();
  const std::string& id = (*session)->info().session_id;
  Json structured = {{"session", id}, {"stopped", stopped}};
  co_return tool_result(stopped
                            ? fmt::format("stopped the turn of session {}; what it did so far "
                                          "stays, and `lares rewind --session {}` takes it back",
                                          id, id)
                            : fmt::format("no turn ran in session {}", id),
                        std::move(structured));
}

}  // namespace lares::daemon
