#include "daemon/dialects/wire.h"

#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/state_dir.h"
#include "engine/exact_json.h"
#include "tools/lenient_json.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kIdDigits = 24;
constexpr std::size_t kBodyValuesMax = 1 << 22;  // a prompt may be a million ids
constexpr std::string_view kRetryAfter_s = "5";
// What the model and its tools said, among it the arguments of calls
constexpr std::string_view kMessages = "messages";

std::string_view anthropic_type(unsigned status) {
  switch (status) {
    case 400:
    case 422:
      return "invalid_request_error";
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 503:
      return "overloaded_error";
    default:
      return "api_error";
  }
}

HttpReply reply_with(const WireError& error, WireJson body) {
  HttpReply reply{.status = error.status, .body = wire_text(body)};
  if (error.status == 503) reply.headers.emplace_back("Retry-After", kRetryAfter_s);
  return reply;
}

}  // namespace

std::optional<std::string> too_much(std::string_view text) {
  return tools::too_much(text, {.depth = kBodyDepthMax,
                                .members = kBodyMembersMax,
                                .compares = kBodyComparesMax,
                                .values = kBodyValuesMax});
}

std::string wire_text(const WireJson& json) { return engine::exact_text(json); }

std::string fresh_id(std::string_view prefix) {
  return std::string(prefix) + random_hex(kIdDigits);
}

std::int64_t seconds_since_1970() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

WireError invalid(std::string parameter, std::string message) {
  return {.message = std::move(message), .parameter = std::move(parameter)};
}

WireError error_of(const Refusal& refusal) {
  switch (refusal.kind) {
    case Refusal::Kind::invalid:
      return {.message = refusal.message, .parameter = refusal.parameter};
    case Refusal::Kind::too_long:
      return {.message = refusal.message,
              .parameter = refusal.parameter,
              .code = "context_length_exceeded"};
    case Refusal::Kind::not_ready:
      return {
          .status = 503, .kind = "server_error", .message = refusal.message, .code = "overloaded"};
    case Refusal::Kind::failed:
      break;
  }
  return {.status = 500, .kind = "server_error", .message = refusal.message};
}

bool is_answer(const GenerationEnd& end) {
  using Reason = GenerationEnd::Reason;
  return end.reason != Reason::failed && end.reason != Reason::cancelled &&
         end.reason != Reason::ending;
}

// Agents read in the message itself whether to ask again: pi, where it finds "service unavailable"
// or "internal error"; and whether to ask for less: "prompt is too long".
WireError error_of(const GenerationEnd& end) {
  if (end.refused) return error_of(*end.refused);
  const auto later = [](const char* why) {
    return WireError{.status = 503,
                     .kind = "server_error",
                     .message = std::string("generate: service unavailable: ") + why,
                     .code = "overloaded"};
  };
  if (end.reason == GenerationEnd::Reason::ending)
    return later("the daemon ends; ask again when it is back");
  // Who hung up does not read it; who does is told by a daemon that ends.
  if (end.reason == GenerationEnd::Reason::cancelled)
    return later("stopped before the answer was whole; ask again");
  return {
      .status = 500,
      .kind = "server_error",
      .message = "generate: internal error: " +
                 (end.what.empty() ? "the engine failed; the daemon's log says why" : end.what)};
}

WireJson openai_body(const WireError& error) {
  const WireJson parameter = error.parameter.empty() ? WireJson() : WireJson(error.parameter);
  return {{"error",
           {{"message", error.message},
            {"type", error.kind},
            {"param", parameter},
            {"code", error.code.empty() ? error.kind : error.code}}}};
}

WireJson anthropic_body(const WireError& error) {
  return {{"type", "error"},
          {"error", {{"type", anthropic_type(error.status)}, {"message", error.message}}}};
}

HttpReply openai_reply(const WireError& error) { return reply_with(error, openai_body(error)); }
HttpReply anthropic_reply(const WireError& error) {
  return reply_with(error, anthropic_body(error));
}
HttpReply json_reply(const WireJson& json) { return {.body = wire_text(json)}; }

tl::expected<WireJson, WireError> parse_body(std::string_view text) {
  if (const auto why = too_much(text))
    return tl::unexpected(invalid("", "read the request's body: " + *why));
  WireJson json = engine::exact_json<WireJson>(text, kBodyDepthMax);
  if (json.is_discarded()) {
    if (const auto whole = tools::with_whole_characters(text))
      json = engine::exact_json<WireJson>(*whole, kBodyDepthMax);
  }
  if (json.is_discarded())
    return tl::unexpected(invalid("", "read the request's body: it is no JSON"));
  if (!json.is_object())
    return tl::unexpected(invalid("", "read the request's body: it is no JSON object"));
  for (auto field = json.begin(); field != json.end(); ++field)
    if (field.key() != kMessages) (void)engine::round_to_doubles(field.value());
  return json;
}

const WireJson* field_of(const WireJson& object, std::string_view name) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

}  // namespace lares::daemon
