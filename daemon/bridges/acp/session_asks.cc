// What a session asks the person before the editor: whether a call may run, and what the model or
// an MCP server wants to know.
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "daemon/bridges/acp/session.h"
#include "daemon/bridges/acp/tool_view.h"
#include "daemon/shown/text.h"
#include "mcp/declining.h"

namespace lares::cli::acp {
namespace {

struct Option {
  const char *id, *name, *kind, *decision, *scope;
};
// "Always" is for calls like this one, where there is a rule that says which those are.
constexpr Option kOptions[] = {
    {"once", "Allow", "allow_once", "allow", "once"},
    {"session", "Always in this session", "allow_always", "allow", "session"},
    {"repository", "Always in this repository", "allow_always", "allow", "repository"},
    {"reject", "Reject", "reject_once", "deny", "once"},
    {"never", "Never in this session", "reject_always", "deny", "session"},
};

std::string question_of(const protocol::Item& item) {
  const Json arguments = Json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
  const std::string question = string_at(arguments, "question");
  return question.empty() ? "The model asks; type an answer." : question;
}

// An MCP server's, which stands beside the call that it belongs to.
bool is_servers(const protocol::Item& item) { return item.kind == "note"; }

// Of a form that was not filled in; nullopt: the turn stops instead. A model reads a sentence, and
// a server would take one for the value that it asked for.
std::optional<std::string> refusal(const protocol::Item& item, const std::string& action) {
  const bool declined = action == "decline";
  if (is_servers(item)) return std::string(declined ? mcp::kDecline : mcp::kCancel);
  if (!declined) return std::nullopt;
  return "The user does not want to answer this. Decide yourself, and say in the end what you "
         "assumed.";
}

}  // namespace

void Session::asks(const protocol::Item& item) {
  if (item.state == "running") return settled(item.id);
  if (asked_.contains(item.id) || question_ == item.id) return;
  if (item.state == "asking") {
    asked_[item.id] = -1;
    spawn(permit(item));
  } else if (item.state == "waiting" && world_.can.forms) {
    asked_[item.id] = -1;
    spawn(question(item));
  } else if (item.state == "waiting") {
    ask_in_text(item);
  }
}

// It has its answer, here or elsewhere.
void Session::settled(const std::string& item_id) {
  if (question_ == item_id) question_.clear();
  const auto it = asked_.find(item_id);
  if (it == asked_.end()) return;
  const std::int64_t request = it->second;
  asked_.erase(it);
  if (request >= 0) world_.editor->withdraw(request);
}

asio::awaitable<void> Session::permit(protocol::Item item) {
  const auto self = shared_from_this();
  // Facts of the past come in one go, with their answers
  co_await asio::post(world_.io, asio::use_awaitable);
  co_await opened_.wait();
  if (!asked_.contains(item.id)) co_return;
  Json options = Json::array();
  for (const Option& option : kOptions) {
    const bool always = std::string_view(option.scope) != "once";
    if (always && item.likes.empty()) continue;
    options.push_back(
        {{"optionId", option.id},
         {"name", always ? fmt::format("{}: {}", option.name,
                                       one_line(fmt::format("{}", fmt::join(item.likes, ", "))))
                         : option.name},
         {"kind", option.kind}});
  }
  Json call = {{"toolCallId", item.id}, {"status", "pending"}};
  call.update(call_fields(item, root_));
  const std::int64_t request = world_.editor->ask(
      "session/request_permission",
      {{"sessionId", id()}, {"toolCall", std::move(call)}, {"options", std::move(options)}});
  asked_[item.id] = request;
  auto waiting = world_.editor->answered(request);
  const auto answer = co_await std::move(waiting);
  asked_.erase(item.id);
  if (!answer && answer.error().code == kCancelled) co_return;
  const std::string chosen = answer ? string_at(at(*answer, "outcome"), "optionId") : "";
  for (const Option& option : kOptions) {
    if (chosen != option.id) continue;
    protocol::ApprovalReply reply;
    reply.session_id = id(), reply.item_id = item.id, reply.decision = option.decision,
    reply.scope = option.scope;
    auto replying = insist(std::string(protocol::ApprovalReply::kMethod), protocol::to_json(reply));
    const auto done = co_await std::move(replying);
    if (!done && done.error().code != kNotFound)
      world_.log(fmt::format("session {}: {}", id(), done.error().message));
    co_return;
  }
  // Nobody decided: that is no denial, so the turn stops instead of going on as if somebody had
  // refused.
  if (!answer)
    view_.notice("error",
                 fmt::format("The turn is stopped: the editor could not ask for permission: {}",
                             answer.error().message));
  co_await interrupt();
}

asio::awaitable<void> Session::question(protocol::Item item) {
  const auto self = shared_from_this();
  co_await asio::post(world_.io, asio::use_awaitable);
  co_await opened_.wait();
  if (!asked_.contains(item.id)) co_return;
  const Json field = {{"type", "string"}, {"title", "Answer"}};
  const Json fields = {{"answer", field}};
  Json required = Json::array();
  required.push_back("answer");
  const Json schema = {{"type", "object"}, {"properties", fields}, {"required", required}};
  Json form = {{"sessionId", id()},
               {"mode", "form"},
               {"message", question_of(item)},
               {"requestedSchema", schema}};
  if (!is_servers(item)) form["toolCallId"] = item.id;
  const std::int64_t request = world_.editor->ask("elicitation/create", std::move(form));
  asked_[item.id] = request;
  auto waiting = world_.editor->answered(request);
  const auto answer = co_await std::move(waiting);
  asked_.erase(item.id);
  if (!answer && answer.error().code == kCancelled) co_return;
  if (!answer) co_return ask_in_text(item);
  const std::string action = string_at(*answer, "action");
  const std::optional<std::string> said = action == "accept"
                                              ? string_at(at(*answer, "content"), "answer")
                                              : refusal(item, action);
  if (!said) {
    co_await interrupt();
    co_return;
  }
  protocol::QuestionReply reply;
  reply.session_id = id(), reply.item_id = item.id, reply.text = *said;
  auto replying = insist(std::string(protocol::QuestionReply::kMethod), protocol::to_json(reply));
  const auto done = co_await std::move(replying);
  if (!done && done.error().code != kNotFound)
    world_.log(fmt::format("session {}: {}", id(), done.error().message));
}

// Editors take the next prompt only when the last is answered; the turn waits meanwhile.
void Session::ask_in_text(const protocol::Item& item) {
  question_ = item.id;
  say("\n" + question_of(item) + "\n");
  const auto all = open_;
  for (const auto& open : all)
    if (open->turn_id == item.turn_id) stop_reason(open, "end_turn");
}

asio::awaitable<void> Session::reply_question(OpenRef open, Prompt prompt) {
  const auto self = shared_from_this();
  open->turn_id = turn_id_;
  protocol::QuestionReply reply;
  reply.session_id = id(), reply.item_id = std::exchange(question_, ""), reply.text = prompt.text;
  auto replying = insist(std::string(protocol::QuestionReply::kMethod), protocol::to_json(reply));
  const auto done = co_await std::move(replying);
  if (done || open->closed) co_return;
  // Answered elsewhere, or its turn is over: then it is a prompt like any other.
  open->turn_id = 0;
  co_await deliver(open, std::move(prompt), "");
}

}  // namespace lares::cli::acp
