#include "mcp/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "mcp/message_batch.h"
#include "tools/lenient_json.h"
#include "tools/text.h"

namespace lares::mcp {
namespace {

using nlohmann::json;

constexpr std::size_t kErrorBytesMax = 2'000;
constexpr std::size_t kBatchMax = 1'024;  // messages; a longer one is none

std::string describe_error(const json& error) {
  if (!error.is_object()) return "error without a description";
  const auto code = error.find("code");
  const auto message = error.find("message");
  auto text = fmt::format(
      "error {}: {}",
      code != error.end() && code->is_number_integer() ? code->dump() : "without a code",
      message != error.end() && message->is_string() ? message->get<std::string>() : "no message");
  if (text.size() > kErrorBytesMax) {
    text.resize(tools::utf8_floor(text, kErrorBytesMax));
    text += "...";
  }
  return text;
}

std::string line_of(const json& message) { return dumped(message) + "\n"; }

}  // namespace

bool nested_too_deep(std::string_view text, int depth_max) {
  return tools::nested_too_deep(text, static_cast<std::size_t>(depth_max));
}

namespace {

Message message_of(json root) {
  Message out;
  if (!root.is_object()) return out;
  const auto id = root.find("id");
  const auto method = root.find("method");
  if (method != root.end()) {
    if (!method->is_string()) return out;
    out.method = method->get<std::string>();
    const auto params = root.find("params");
    out.params = params != root.end() && params->is_object() ? std::move(*params) : json::object();
    if (id == root.end()) {
      out.kind = Message::notification;
    } else if (id->is_string() || id->is_number_integer()) {
      out.kind = Message::request;
      out.any_id = *id;
    }
    return out;
  }
  if (id == root.end()) return out;
  out.id = id_of(*id).value_or(-1);
  if (const auto error = root.find("error"); error != root.end()) {
    out.kind = Message::failure;
    out.error = describe_error(*error);
    out.of_none = id->is_null();
    if (error->is_object()) {
      const auto code = error->find("code"), data = error->find("data");
      if (code != error->end() && code->is_number_integer()) out.code = code->get<int>();
      if (data != error->end()) out.data = std::move(*data);
    }
  } else if (const auto result = root.find("result"); result != root.end()) {
    out.kind = Message::reply;
    out.result = std::move(*result);
  }
  return out;
}

}  // namespace

Message parse_message(std::string_view line) {
  return nested_too_deep(line) ? Message() : message_of(tools::lenient_json<json>(line));
}

std::vector<Message> parse_messages(std::string_view text) {
  std::vector<Message> out;
  json root = nested_too_deep(text) ? json() : tools::lenient_json<json>(text);
  if (root.is_array() && root.size() <= kBatchMax) {
    for (json& message : root) out.push_back(message_of(std::move(message)));
  } else {
    out.push_back(message_of(std::move(root)));
  }
  if (out.empty()) out.emplace_back();
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

std::string reply_line(const json& id, json result) {
  return line_of({{"jsonrpc", "2.0"}, {"id", id}, {"result", std::move(result)}});
}

std::string error_line(const json& id, int code, std::string_view message) {
  json error{{"code", code}, {"message", message}};
  return line_of({{"jsonrpc", "2.0"}, {"id", id}, {"error", std::move(error)}});
}

std::optional<std::int64_t> id_of(const json& value) {
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  std::int64_t number = 0;
  const auto [stop, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string text_at(const json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace lares::mcp
