// JSON-RPC 2.0 as MCP writes it: one message a line.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lares::mcp {

inline constexpr int kNestingMax = 128;  // deeper JSON is refused: printing it recurses

struct Message {
  enum Kind { reply, failure, request, notification, garbage } kind = garbage;
  std::int64_t id = 0;    // of a reply or a failure; ids that we never give out become -1
  nlohmann::json any_id;  // of a request, to be sent back as it came
  std::string method;     // of a request or a notification
  nlohmann::json result;  // of a reply
  std::string error;      // of a failure: "error -32602: no such tool"
};

Message parse_message(std::string_view line);

std::string request_line(std::int64_t id, std::string_view method, nlohmann::json params);
std::string notification_line(std::string_view method, nlohmann::json params);
std::string empty_reply_line(const nlohmann::json& id);
std::string unknown_method_line(const nlohmann::json& id, std::string_view method);

}  // namespace lares::mcp
