// What a stateless client asks for, freed of its dialect: a whole conversation in every request,
// and how to go on with it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "engine/json_schema.h"

namespace lares::daemon {

inline constexpr std::int64_t kOutputTokensMax = 393'216;  // the hosted API's
inline constexpr std::size_t kStopSequencesMax = 16;

struct Conversation {
  using Json = nlohmann::ordered_json;

  // As encode_chat() takes them: {"role": "system" | "user" | "assistant" | "tool" | "developer",
  // "content"}; an assistant's with "reasoning_content" and "tool_calls" [{"id", "type":
  // "function", "function": {"name", "arguments"}}], a tool's with "tool_call_id". What moves or
  // changes between two requests of one conversation without meaning anything (cache marks, billing
  // lines) is not in it.
  Json messages = Json::array();
  // [{"type": "function", "function": {"name", "description", "parameters", "strict"?},
  // "defer_loading"?}], deferred: a message defines it
  Json tools = Json::array();
  // By name, of the tools whose calls are held to their schemas
  std::map<std::string, engine::JsonSchemaRef> strict;
  enum class Call { as_it_likes, never, some, named } call = Call::as_it_likes;
  std::string call_name;  // named
  bool one_call = false;  // no others beside it

  bool thinking = true;
  std::string effort;  // "low", "high", "max", or empty: the default
  // A part of the last assistant message is there; the answer goes on behind it (chat prefix
  // completion). Else such a message is whole, and the answer is another one after it.
  bool continues_last = false;

  engine::Sampling sampling;
  std::int64_t tokens_max = kOutputTokensMax;
  std::vector<std::string> stop;  // the answer ends before the first of these in its content
  enum class Format { text, json_object, json_schema } format = Format::text;
  Json schema;                     // json_schema
  engine::JsonSchemaRef enforced;  // ... where the answer is held to it; null: it is told, and an
                                   // object is what comes
  int n_logprobs = -1;             // of the likeliest tokens beside each; -1: none are asked for
};

// Fill in the middle: no conversation, no thinking (engine/chat.h has the tokens).
struct Infill {
  std::string prefix;
  std::optional<std::string> suffix;  // none: the prefix is gone on with
  engine::Sampling sampling;
  std::int64_t tokens_max = 4096;
  std::vector<std::string> stop;
  bool echo = false;
  int n_logprobs = -1;
};

// Token ids that are gone on with exactly as they are: no chat format, no grammar, no thinking and
// no calls. For programs that hold all of that themselves, such as another Lares.
struct RawPrompt {
  std::vector<engine::Token> ids;
  std::vector<engine::Token> allowed;  // every draw is one of these; empty: any
  engine::Sampling sampling;
  std::int64_t tokens_max = 16;  // OpenAI's default
  int n_logprobs = -1;           // of the likeliest tokens beside each; -1: not even that one's
  bool names_ids = false;        // in them a token is "token_id:5", not its text
};

}  // namespace lares::daemon
