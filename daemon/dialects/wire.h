// What the dialects share on the wire: bodies, ids, errors.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>
#include <tl/expected.hpp>

#include "daemon/completions/generation.h"
#include "daemon/http/exchange.h"

namespace lares::daemon {

using WireJson = nlohmann::ordered_json;

inline constexpr std::size_t kBodyDepthMax = 128;  // of nested arrays and objects
// Of one object: each is compared with those before it
inline constexpr std::size_t kBodyMembersMax = 16'384;
inline constexpr std::size_t kBodyComparesMax = 1 << 28;  // of all its objects' members
// Before JSON is parsed: why it is deep enough to exhaust the stack of what walks it, or takes
// minutes to build; nullopt: it is not.
std::optional<std::string> too_much(std::string_view text);

// One line, UTF-8 whatever the model or the client sent; numbers that engine::exact_json() kept as
// their digits are those.
std::string wire_text(const WireJson& json);

// Unguessable: "chatcmpl-" and the like, and 24 hexadecimal digits.
std::string fresh_id(std::string_view prefix);
std::int64_t seconds_since_1970();

// Why a request was not, or not wholly, answered. `kind` is OpenAI's type; Anthropic's follows from
// the status.
struct WireError {
  unsigned status = 400;
  std::string kind = "invalid_request_error";
  std::string message;         // one line
  std::string parameter = {};  // the field at fault, where there is one
  std::string code = {};       // empty: kind
};
WireError invalid(std::string parameter, std::string message);
WireError error_of(const Refusal& refusal);
// The model's answer, or as much of it as there will be: it was not cut off by what is no part of
// it.
bool is_answer(const GenerationEnd& end);
WireError error_of(const GenerationEnd& end);  // of the others: failed, cancelled, ending

// With Retry-After where another try makes sense.
HttpReply openai_reply(const WireError& error);     // {"error": {message, type, param, code}}
HttpReply anthropic_reply(const WireError& error);  // {"type": "error", "error": {type, message}}
WireJson openai_body(const WireError& error);  // the same without the reply around it, for a stream
WireJson anthropic_body(const WireError& error);
HttpReply json_reply(const WireJson& json);

// A request's body, an object. Below "messages" it is engine::exact_json(); elsewhere numbers are
// nlohmann's.
tl::expected<WireJson, WireError> parse_body(std::string_view text);

// A field of an object; null: it is absent, or null, which says the same.
const WireJson* field_of(const WireJson& object, std::string_view name);

}  // namespace lares::daemon
