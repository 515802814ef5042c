#include "mcp/message.h"

#include <fmt/format.h>

#include <algorithm>

namespace lares::mcp {
namespace {

using nlohmann::json;

constexpr std::size_t kErrorBytesMax = 2'000;

bool nested_too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kNestingMax) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

std::string describe_error(const json& error) {
  if (!error.is_object()) return "error without a description";
  const auto code = error.find("code");
  const auto message = error.find("message");
  auto text = fmt::format(
      "error {}: {}",
      code != error.end() && code->is_number_integer() ? code->dump() : "without a code",
      message != error.end() && message->is_string() ? message->get<std::string>() : "no message");
  if (text.size() > kErrorBytesMax) {
    std::size_t n = kErrorBytesMax;
    while (n > 0 && (static_cast<unsigned char>(text[n]) & 0xc0) == 0x80) --n;
    text.resize(n);
    text += "...";
  }
  return text;
}

std::string line_of(const json& message) {
  return message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

Message parse_message(std::string_view line) {
  Message out;
  if (nested_too_deep(line)) return out;
  json root = json::parse(line, nullptr, false);
  if (root.is_discarded() || !root.is_object()) return out;
  const auto id = root.find("id");
  const auto method = root.find("method");
  if (method != root.end()) {
    if (!method->is_string()) return out;
    out.method = method->get<std::string>();
    if (id == root.end()) {
      out.kind = Message::notification;
    } else if (id->is_string() || id->is_number_integer()) {
      out.kind = Message::request;
      out.any_id = *id;
    }
    return out;
  }
  if (id == root.end()) return out;
  out.id = id->is_number_integer() ? id->get<std::int64_t>() : -1;
  if (const auto error = root.find("error"); error != root.end()) {
    out.kind = Message::failure;
    out.error = describe_error(*error);
  } else if (const auto result = root.find("result"); result != root.end()) {
    out.kind = Message::reply;
    out.result = std::move(*result);
  }
  return out;
}

std::string request_line(std::int64_t id, std::string_view method, json params) {
  json message{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}};
  if (!params.is_null()) message["params"] = std::move(params);
  return line_of(message);
}

std::string notification_line(std::string_view method, json params) {
  json message{{"jsonrpc", "2.0"}, {"method", method}};
  if (!params.is_null()) message["params"] = std::move(params);
  return line_of(message);
}

std::string empty_reply_line(const json& id) {
  return line_of({{"jsonrpc", "2.0"}, {"id", id}, {"result", json::object()}});
}

std::string unknown_method_line(const json& id, std::string_view method) {
  json error{{"code", -32601}, {"message", fmt::format("no method {}", method)}};
  return line_of({{"jsonrpc", "2.0"}, {"id", id}, {"error", std::move(error)}});
}

}  // namespace lares::mcp
