#include "mcp/server/rpc.h"

#include <fmt/format.h>

#include "tools/lenient_json.h"

namespace lares::mcp::server {
namespace {

bool is_id(const Json& id) {
  return id.is_number_integer() ||
         (id.is_string() && id.get_ref<const std::string&>().size() <= kIdBytesMax);
}

tl::unexpected<Refusal> no(int code, std::string why, Json id = nullptr) {
  return tl::unexpected(Refusal{code, std::move(why), nullptr, std::move(id)});
}

// Finds the id of a message that is not to be built.
class IdFinder {
 public:
  Json id;

  bool null() { return scalar(nullptr); }
  bool boolean(bool value) { return scalar(value); }
  bool number_integer(std::int64_t value) { return scalar(value); }
  bool number_unsigned(std::uint64_t value) { return scalar(value); }
  bool number_float(double value, const std::string&) { return scalar(value); }
  bool string(std::string& value) { return !here_ || scalar(std::move(value)); }
  bool binary(Json::binary_t&) { return true; }
  bool key(std::string& name) {
    here_ = depth_ == 1 && name == "id";
    return true;
  }
  bool start_object(std::size_t) { return opens(); }
  bool end_object() { return closes(); }
  bool start_array(std::size_t) { return opens(); }
  bool end_array() { return closes(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) { return false; }

 private:
  bool scalar(Json value) {
    if (!here_) return true;
    id = std::move(value);
    return false;  // there is no more to look for
  }
  bool opens() {
    here_ = false;
    ++depth_;
    return true;
  }
  bool closes() {
    --depth_;
    return true;
  }

  int depth_ = 0;
  bool here_ = false;  // its value is next
};

Json id_in(std::string_view text) {
  IdFinder finder;
  (void)Json::sax_parse(text, &finder);
  return is_id(finder.id) ? std::move(finder.id) : Json();
}

}  // namespace

const Json& member(const Json& object, std::string_view key) {
  static const Json kNull = nullptr;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string string_member(const Json& object, std::string_view key) {
  const Json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

const Json& meta(const Json& params, std::string_view name) {
  return member(member(params, "_meta"), std::string(kMetaPrefix) + std::string(name));
}

namespace {

// Of any text.
Answer<> json_of(std::string_view text) {
  if (const auto why = tools::too_much(text, {.depth = kDepthMax}))
    return no(kParseError, "read the message: " + *why, id_in(text));
  Json json = tools::lenient_json<Json>(text);
  if (json.is_discarded()) return no(kParseError, "the message is not JSON in UTF-8");
  return json;
}

Answer<> checked(Json message) {
  if (!message.is_object() || member(message, "jsonrpc") != "2.0")
    return no(kInvalidRequest, "the message is no JSON-RPC 2.0: jsonrpc must be \"2.0\"");
  const bool has_id = message.contains("id"), has_method = message.contains("method");
  if (has_id && !is_id(message["id"]))
    return no(kInvalidRequest,
              fmt::format("id must be an integer, or a string of at most {} bytes", kIdBytesMax));
  const Json id = id_of(message);
  if (has_method && !message["method"].is_string())
    return no(kInvalidRequest, "method must be a string", id);
  if (!has_method && !(has_id && (message.contains("result") || message.contains("error"))))
    return no(kInvalidRequest, "the message is neither a request nor an answer", id);
  if (has_method && message.contains("params") && message["params"].is_null())
    message.erase("params");
  if (has_method && message.contains("params") && !message["params"].is_object())
    return no(kInvalidRequest, "params must be an object", id);
  return message;
}

}  // namespace

Refusal no_batches(std::string_view version) {
  return {kInvalidRequest,
          fmt::format("batches are part of {} alone, and this session is {}; send one message at a "
                      "time",
                      kBatching, version.empty() ? "none yet" : version)};
}

Answer<> parse(std::string_view text) {
  auto json = json_of(text);
  if (json && json->is_array()) return no(kInvalidRequest, "a batch is no message");
  return json ? checked(std::move(*json)) : json;
}

Incoming parse_all(std::string_view text) {
  Incoming out;
  auto json = json_of(text);
  if (!json) {
    out.messages.push_back(std::move(json));
  } else if (!json->is_array()) {
    out.messages.push_back(checked(std::move(*json)));
  } else if (json->empty() || json->size() > kBatchMax) {
    out.messages.emplace_back(
        no(kInvalidRequest,
           fmt::format("a batch has 1 to {} messages, not {}", kBatchMax, json->size())));
  } else {
    out.batch = true;
    for (Json& one : *json) {
      auto message = checked(std::move(one));
      if (message && !modern_version(*message).empty())
        message = no(kInvalidRequest, modern_version(*message) + " has no batches; send it alone",
                     id_of(*message));
      out.messages.push_back(std::move(message));
    }
  }
  return out;
}

JsonRef message_of(const IncomingRef& incoming, std::size_t i) {
  return {incoming, &*incoming->messages[i]};
}

Json id_of(const Json& message) {
  const Json& id = member(message, "id");
  return is_id(id) ? id : Json(nullptr);
}

bool is_request(const Json& message) {
  return message.contains("method") && message.contains("id");
}

std::string modern_version(const Json& message) {
  return string_member(member(member(message, "params"), "_meta"),
                       "io.modelcontextprotocol/protocolVersion");
}

std::string text_of(const Json& message) {
  return message.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string result_text(const Json& id, Json result) {
  Json message = {{"jsonrpc", "2.0"}, {"id", id}};
  message["result"] = std::move(result);
  return text_of(message);
}

std::string error_text(const Json& id, const Refusal& refusal) {
  Json error = {{"code", refusal.code}, {"message", refusal.message}};
  if (!refusal.data.is_null()) error["data"] = refusal.data;
  Json message = {{"jsonrpc", "2.0"}};
  const Json& of = id.is_null() ? refusal.id : id;
  if (!of.is_null()) message["id"] = of;  // the modern schema knows no null
  message["error"] = std::move(error);
  return text_of(message);
}

std::string notification_text(std::string_view method, Json params) {
  Json message = {{"jsonrpc", "2.0"}, {"method", method}};
  if (!params.is_null()) message["params"] = std::move(params);
  return text_of(message);
}

std::string request_text(const Json& id, std::string_view method, Json params) {
  Json message = {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}};
  message["params"] = params.is_null() ? Json::object() : std::move(params);
  return text_of(message);
}

}  // namespace lares::mcp::server
