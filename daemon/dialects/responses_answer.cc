#include "daemon/dialects/responses_answer.h"

#include <utility>

#include <fmt/format.h>

#include "daemon/dialects/sse.h"
#include "daemon/dialects/thoughts.h"

namespace lares::daemon {
namespace {

using Kind = Part::Kind;
constexpr std::string_view kIdPrefix = "resp_";

// The one part of a text item.
WireJson text_part(const Part& part) {
  if (part.kind == Kind::reasoning) return {{"type", "reasoning_text"}, {"text", part.text}};
  return {{"type", "output_text"},
          {"text", part.text},
          {"annotations", WireJson::array()},
          {"logprobs", WireJson::array()}};
}

WireJson usage_of(const GenerationUsage& usage) {
  return {{"input_tokens", usage.prompt},
          {"input_tokens_details", {{"cached_tokens", usage.cached}}},
          {"output_tokens", usage.completion},
          {"output_tokens_details", {{"reasoning_tokens", usage.reasoning}}},
          {"total_tokens", usage.prompt + usage.completion}};
}

// Agents look at the code: at "context_length_exceeded" Codex makes its history shorter, at
// "invalid_prompt" it does not ask the same again, at others it does.
WireJson error_json(const WireError& error) {
  const bool refused = error.status < 500;
  const char* const otherwise = refused ? "invalid_prompt" : "server_error";
  return {{"code", refused && !error.code.empty() ? error.code : otherwise},
          {"message", error.message}};
}

std::string numbered_event(const char* type, WireJson fields, std::int64_t& n_events) {
  WireJson event = {{"type", type}, {"sequence_number", n_events++}};
  event.update(fields);
  return sse_event(type, event);
}

std::string beginning(const WireJson& response, std::int64_t& n_events) {
  std::string out;
  for (const char* type : {"response.created", "response.in_progress"})
    out += numbered_event(type, {{"response", response}}, n_events);
  return out;
}

const char* status_of(const GenerationEnd& end) {
  if (!is_answer(end)) return "failed";
  return end.cut_off() ? "incomplete" : "completed";
}

}  // namespace

ResponsesAnswer::ResponsesAnswer(std::string id, std::string model, std::int64_t created_at,
                                 ResponsesTools tools, WireJson echo)
    : id_(std::move(id)), tools_(std::move(tools)) {
  WireJson begun = {{"id", id_},
                    {"object", "response"},
                    {"created_at", created_at},
                    {"status", "in_progress"},
                    {"error", nullptr},
                    {"incomplete_details", nullptr},
                    {"model", std::move(model)},
                    {"output", WireJson::array()},
                    {"usage", nullptr},
                    {"user", nullptr}};
  begun.update(echo);
  begun_ = std::make_shared<const WireJson>(std::move(begun));
}

ResponsesTool ResponsesAnswer::tool_of(const Part& part) const {
  const auto at = tools_.find(part.name);
  return at == tools_.end() ? ResponsesTool{.name = part.name} : at->second;
}

WireJson ResponsesAnswer::item(const Part& part, const char* status) const {
  const auto id = [&](const char* prefix) {
    return fmt::format("{}_{}_{}", prefix, std::string_view(id_).substr(kIdPrefix.size()),
                       part.index);
  };
  const bool begins = part.text.empty();
  switch (part.kind) {
    case Kind::reasoning: {
      WireJson item = {{"id", id("rs")},
                       {"type", "reasoning"},
                       {"status", status},
                       {"summary", WireJson::array()},
                       {"content", WireJson::array()}};
      if (!begins) item["content"].push_back(text_part(part));
      if (!begins) item["encrypted_content"] = sealed_thought(part.text);
      return item;
    }
    case Kind::content: {
      WireJson item = {{"id", id("msg")},
                       {"type", "message"},
                       {"status", status},
                       {"role", "assistant"},
                       {"content", WireJson::array()}};
      if (!begins) item["content"].push_back(text_part(part));
      return item;
    }
    case Kind::call:
      break;
  }
  const ResponsesTool tool = tool_of(part);
  WireJson item = {{"id", id(tool.custom ? "ctc" : "fc")},
                   {"type", tool.custom ? "custom_tool_call" : "function_call"},
                   {"status", status},
                   {"call_id", part.id}};
  if (!tool.space.empty()) item["namespace"] = tool.space;
  item["name"] = tool.name;
  if (tool.custom)
    item["input"] = begins ? "" : custom_input(part.text);
  else
    item["arguments"] = part.text;
  return item;
}

void ResponsesAnswer::event(const char* type, WireJson fields) {
  out_ += numbered_event(type, std::move(fields), *n_events_);
}

Exchange::KeepAlive ResponsesAnswer::keep_alive() const {
  return [n_events = n_events_, begun = begun_, seen = std::int64_t{0}, n_comments = 0]() mutable {
    if (*n_events != seen) seen = *n_events, n_comments = 0;
    if (n_comments++ < kCommentsMax) return std::string(kSseKeepAlive);
    // OpenAI's SDKs throw where another event comes before response.created
    if (*n_events == 0) return beginning(*begun, *n_events);
    return numbered_event("keepalive", WireJson::object(), *n_events);
  };
}

void ResponsesAnswer::told(const Part& part, const char* type, WireJson fields) {
  WireJson event = {{"item_id", item_id_}, {"output_index", part.index}};
  if (part.kind != Kind::call) event["content_index"] = 0;
  event.update(fields);
  this->event(type, std::move(event));
}

void ResponsesAnswer::begin(std::int64_t /*prompt_tokens*/) {
  // keep_alive() may have told it while the model loaded
  if (*n_events_ == 0) out_ += beginning(*begun_, *n_events_);
}

void ResponsesAnswer::opened(const Part& part) {
  const WireJson begun = item(part, "in_progress");
  item_id_ = begun["id"].get<std::string>();
  event("response.output_item.added", {{"output_index", part.index}, {"item", begun}});
  if (part.kind != Kind::call)
    told(part, "response.content_part.added", {{"part", text_part(part)}});
}

void ResponsesAnswer::extended(const Part& part, std::string_view piece) {
  switch (part.kind) {
    case Kind::reasoning:
      return told(part, "response.reasoning_text.delta", {{"delta", piece}});
    case Kind::content:
      return told(part, "response.output_text.delta",
                  {{"delta", piece}, {"logprobs", WireJson::array()}});
    case Kind::call:
      break;
  }
  // A custom tool's text is inside a JSON string, which is read when it is whole.
  if (!tool_of(part).custom)
    told(part, "response.function_call_arguments.delta", {{"delta", piece}});
}

void ResponsesAnswer::closed(const Part& part) {
  if (part.kind == Kind::call)
    call_closed(part);
  else
    text_closed(part);
}

void ResponsesAnswer::text_closed(const Part& part) {
  if (part.kind == Kind::reasoning)
    told(part, "response.reasoning_text.done", {{"text", part.text}});
  else
    told(part, "response.output_text.done", {{"text", part.text}, {"logprobs", WireJson::array()}});
  told(part, "response.content_part.done", {{"part", text_part(part)}});
  output_.push_back(item(part, part.whole ? "completed" : "incomplete"));
  event("response.output_item.done", {{"output_index", part.index}, {"item", output_.back()}});
}

void ResponsesAnswer::call_closed(const Part& part) {
  if (!part.whole) return;  // cut off: clients run whatever item is done
  WireJson done = item(part, "completed");
  if (tool_of(part).custom) {
    told(part, "response.custom_tool_call_input.delta", {{"delta", done["input"]}});
    told(part, "response.custom_tool_call_input.done", {{"input", done["input"]}});
  } else {
    told(part, "response.function_call_arguments.done",
         {{"name", done["name"]}, {"arguments", part.text}});
  }
  event("response.output_item.done", {{"output_index", part.index}, {"item", done}});
  output_.push_back(std::move(done));
}

WireJson ResponsesAnswer::whole(const GenerationEnd& end) const {
  WireJson response = *begun_;
  response["status"] = status_of(end);
  response["output"] = output_;
  response["usage"] = usage_of(end.usage);
  if (end.cut_off())  // of the context, too, the dialect says max_output_tokens
    response["incomplete_details"] = {{"reason", "max_output_tokens"}};
  if (!is_answer(end)) response["error"] = error_json(error_of(end));
  return response;
}

void ResponsesAnswer::end(const GenerationEnd& end) {
  // Of an answer that failed, what is open stays open, and is no part of the output.
  if (is_answer(end)) close(!end.cut_off());
  event(fmt::format("response.{}", status_of(end)).c_str(), {{"response", whole(end)}});
}

}  // namespace lares::daemon
