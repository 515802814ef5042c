#include "daemon/dialects/messages_answer.h"

#include <utility>

#include "daemon/dialects/sse.h"
#include "daemon/dialects/thoughts.h"
#include "engine/exact_json.h"

namespace lares::daemon {
namespace {

constexpr std::string_view kPing = "event: ping\ndata: {\"type\":\"ping\"}\n\n";

const char* stop_reason(GenerationEnd::Reason reason, bool knows_context) {
  switch (reason) {
    case GenerationEnd::Reason::calls:
      return "tool_use";
    case GenerationEnd::Reason::sequence:
      return "stop_sequence";
    case GenerationEnd::Reason::length:
      return "max_tokens";
    case GenerationEnd::Reason::context:
      return knows_context ? "model_context_window_exceeded" : "max_tokens";
    default:
      return "end_turn";
  }
}

WireJson stop_of(const GenerationEnd& end, bool knows_context) {
  const bool sequence = end.reason == GenerationEnd::Reason::sequence;
  return {{"stop_reason", stop_reason(end.reason, knows_context)},
          {"stop_sequence", sequence ? WireJson(end.what) : WireJson()}};
}

// A prompt is what was not cached, what was, and what was written to a cache for a price, which
// nothing is here.
WireJson usage_of(const GenerationUsage& usage) {
  return {{"input_tokens", usage.prompt - usage.cached},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached},
          {"output_tokens", usage.completion}};
}

WireJson block_of(const Part& part) {
  switch (part.kind) {
    case Part::Kind::reasoning:
      return {{"type", "thinking"},
              {"thinking", part.text},
              {"signature", thought_signature(part.text)}};
    case Part::Kind::content:
      return {{"type", "text"}, {"text", part.text}};
    case Part::Kind::call:
      break;
  }
  // As it is streamed: nlohmann's numbers are doubles where they are not whole
  return {{"type", "tool_use"},
          {"id", part.id},
          {"name", part.name},
          {"input", engine::as_written(part.text)}};
}

}  // namespace

WireJson MessagesAnswer::message(const WireJson& usage) const {
  return {{"id", id_},
          {"type", "message"},
          {"role", "assistant"},
          {"model", model_},
          {"content", WireJson::array()},
          {"stop_reason", nullptr},
          {"stop_sequence", nullptr},
          {"usage", usage}};
}

void MessagesAnswer::begin(std::int64_t prompt_tokens) {
  const WireJson start = {{"type", "message_start"},
                          {"message", message(usage_of({.prompt = prompt_tokens}))}};
  out_ += sse_event("message_start", start);
  out_ += kPing;
}

Exchange::KeepAlive MessagesAnswer::keep_alive() const {
  return [] { return std::string(kPing); };
}

void MessagesAnswer::opened(const Part& part) {
  WireJson block;
  switch (part.kind) {
    case Part::Kind::reasoning:
      block = {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}};
      break;
    case Part::Kind::content:
      block = {{"type", "text"}, {"text", ""}};
      break;
    case Part::Kind::call:
      block = {{"type", "tool_use"},
               {"id", part.id},
               {"name", part.name},
               {"input", WireJson::object()}};
      break;
  }
  const WireJson start = {
      {"type", "content_block_start"}, {"index", part.index}, {"content_block", std::move(block)}};
  out_ += sse_event("content_block_start", start);
}

void MessagesAnswer::delta(const Part& part, WireJson delta) {
  const WireJson event = {
      {"type", "content_block_delta"}, {"index", part.index}, {"delta", std::move(delta)}};
  out_ += sse_event("content_block_delta", event);
}

void MessagesAnswer::extended(const Part& part, std::string_view piece) {
  switch (part.kind) {
    case Part::Kind::reasoning:
      return delta(part, {{"type", "thinking_delta"}, {"thinking", piece}});
    case Part::Kind::content:
      return delta(part, {{"type", "text_delta"}, {"text", piece}});
    case Part::Kind::call:
      return delta(part, {{"type", "input_json_delta"}, {"partial_json", piece}});
  }
}

void MessagesAnswer::closed(const Part& part) {
  if (part.kind == Part::Kind::reasoning)
    delta(part, {{"type", "signature_delta"}, {"signature", thought_signature(part.text)}});
  const WireJson stop = {{"type", "content_block_stop"}, {"index", part.index}};
  out_ += sse_event("content_block_stop", stop);
}

void MessagesAnswer::end(const GenerationEnd& end) {
  if (!is_answer(end)) {
    // What is open stays open: a client that saw its end could take it for the model's.
    out_ += sse_event("error", anthropic_body(error_of(end)));
    return;
  }
  close(!end.cut_off());
  const WireJson delta = {{"type", "message_delta"},
                          {"delta", stop_of(end, knows_context_)},
                          {"usage", usage_of(end.usage)}};
  out_ += sse_event("message_delta", delta);
  out_ += sse_event("message_stop", {{"type", "message_stop"}});
}

WireJson MessagesAnswer::whole(const GenerationEnd& end) const {
  WireJson body = message(usage_of(end.usage));
  for (const Part& part : parts()) {
    // A call that was cut off has no input; the reason to stop says that the answer is not whole.
    if (part.kind != Part::Kind::call || part.whole) body["content"].push_back(block_of(part));
  }
  body.update(stop_of(end, knows_context_));
  return body;
}

HttpReply messages_refusal(const WireError& error, const std::string& request_id) {
  HttpReply reply = anthropic_reply(error);
  WireJson body = anthropic_body(error);
  body["request_id"] = request_id;
  reply.body = wire_text(body);
  reply.headers.emplace_back("request-id", request_id);
  return reply;
}

}  // namespace lares::daemon
