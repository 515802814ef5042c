#include "daemon/bridges/acp/message.h"

#include <utility>

#include <fmt/format.h>

#include "daemon/bridges/acp/lines.h"
#include "daemon/protocol/wire.h"
#include "tools/lenient_json.h"

namespace lares::cli::acp {
namespace {

std::string line_of(Json message) { return protocol::dump(message) + "\n"; }

// Of a line that cannot be read whole. A response's id is one that we gave out: an error under it
// would be taken for the answer to a request of the editor's own.
Json id_of_request(std::string_view line) {
  return line.find("\"method\"") == std::string_view::npos ? Json() : id_of_cut(line);
}

}  // namespace

const Json& at(const Json& object, const char* key) {
  static const Json kNothing;
  if (!object.is_object()) return kNothing;
  const auto it = object.find(key);
  return it == object.end() ? kNothing : *it;
}

std::string string_at(const Json& object, const char* key) {
  const Json& value = at(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

bool declared(const Json& object, std::initializer_list<const char*> path) {
  const Json* here = &object;
  for (const char* key : path) here = &at(*here, key);
  return !here->is_null() && *here != Json(false);
}

Reply<Message> parse(std::string_view line, Json& id) {
  if (protocol::nested_too_deep(line)) {
    id = id_of_request(line);
    return tl::unexpected(Fault{
        kParseError,
        fmt::format("read a message: it is nested deeper than {} levels", protocol::kNestingMax)});
  }
  Json json = tools::lenient_json<Json>(line);
  if (json.is_discarded()) {
    id = id_of_request(line);
    return tl::unexpected(Fault{kParseError, "read a message: the line is not JSON"});
  }
  if (!json.is_object())
    return tl::unexpected(
        Fault{kInvalidRequest,
              "read a message: it must be one JSON object a line; batches are not taken"});
  Message out;
  out.method = string_at(json, "method");
  if (json.contains("id")) id = json["id"], out.id = json["id"];
  if (out.id && (out.id->is_object() || out.id->is_array()))
    return tl::unexpected(
        Fault{kInvalidRequest, "read a message: its id must be a string, a number or null"});
  out.params = at(json, "params"), out.result = at(json, "result");
  if (const Json& error = at(json, "error"); error.is_object()) {
    const Json& code = at(error, "code");
    out.fault = Fault{code.is_number_integer() ? code.get<int>() : kInternal,
                      string_at(error, "message")};
  }
  if (out.method.empty() && !out.id)
    return tl::unexpected(
        Fault{kInvalidRequest, "read a message: it has neither a method nor an id"});
  if (out.method.empty() && !json.contains("result") && !out.fault)
    return tl::unexpected(
        Fault{kInvalidRequest, "read a message: it has neither a method nor a result"});
  return out;
}

std::string request_line(const Json& id, std::string_view method, const Json& params) {
  return line_of({{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}});
}
std::string notification_line(std::string_view method, const Json& params) {
  return line_of({{"jsonrpc", "2.0"}, {"method", method}, {"params", params}});
}
std::string result_line(const Json& id, const Json& result) {
  return line_of({{"jsonrpc", "2.0"}, {"id", id}, {"result", result}});
}
std::string fault_line(const Json& id, const Fault& fault) {
  const Json error = {{"code", fault.code}, {"message", fault.message}};
  return line_of({{"jsonrpc", "2.0"}, {"id", id}, {"error", error}});
}

}  // namespace lares::cli::acp
