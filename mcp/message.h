// JSON-RPC 2.0 as MCP writes it: one message a line.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace lares::mcp {

inline constexpr int kNestingMax = 128;  // deeper JSON is refused: printing it recurses

inline constexpr int kMethodNotFound = -32601, kInvalidParams = -32602, kInternalError = -32603;
inline constexpr int kHeaderMismatch = -32020, kMissingCapability = -32021,
                     kUnsupportedVersion = -32022;
inline constexpr int kUrlElicitationRequired = -32042;  // 2025-11-25

struct Message {
  enum Kind { reply, failure, request, notification, garbage } kind = garbage;
  std::int64_t id = 0;    // of a reply or a failure, as id_of(); ids that are none of ours become
                          // -1
  nlohmann::json any_id;  // of a request, to be sent back as it came
  std::string method;     // of a request or a notification
  nlohmann::json params;  // of a request or a notification: an object
  nlohmann::json result;  // of a reply
  std::string error;      // of a failure: "error -32602: no such tool"
  int code = 0;           // of a failure
  bool of_none = false;   // a failure whose id is null: of a message that the server could not read
  nlohmann::json data;    // of a failure
};

bool nested_too_deep(std::string_view text, int depth_max = kNestingMax);

Message parse_message(std::string_view line);

std::string request_line(std::int64_t id, std::string_view method, nlohmann::json params);
std::string notification_line(std::string_view method, nlohmann::json params);
std::string reply_line(const nlohmann::json& id, nlohmann::json result);
std::string error_line(const nlohmann::json& id, int code, std::string_view message);

// A number that we gave out as an id or a token, as a server repeats it: some make strings of them.
std::optional<std::int64_t> id_of(const nlohmann::json& value);

// "" where `object` is none, or has no string of that name.
std::string text_at(const nlohmann::json& object, const char* key);
// As text for people and models: bytes that are no UTF-8 are replaced.
std::string dumped(const nlohmann::json& value);

}  // namespace lares::mcp
