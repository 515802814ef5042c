// One line of the Agent Client Protocol: JSON-RPC 2.0 with ids that may be anything, null included.
// What is wrong is a Fault.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "daemon/protocol/wire.h"

namespace lares::cli::acp {

namespace protocol = daemon::protocol;
using protocol::Json;

inline constexpr int kParseError = -32700, kInvalidRequest = -32600, kUnknownMethod = -32601,
                     kInvalidParams = -32602, kInternal = -32603;
inline constexpr int kNotFound = -32002, kCancelled = -32800;

struct Fault {
  int code = kInternal;
  std::string message;
  bool lost = false;  // the connection went before the answer came: what was asked may have been
                      // done
};
template <class T = void>
using Reply = tl::expected<T, Fault>;

// A request has a method and an id, a notification a method alone, a response an id and one of
// result and fault.
struct Message {
  std::string method;
  std::optional<Json> id;
  Json params, result;
  std::optional<Fault> fault;
};
// `id` is that of a line that has one, whatever else is wrong with it.
Reply<Message> parse(std::string_view line, Json& id);

// With their newline.
std::string request_line(const Json& id, std::string_view method, const Json& params);
std::string notification_line(std::string_view method, const Json& params);
std::string result_line(const Json& id, const Json& result);
std::string fault_line(const Json& id, const Fault& fault);

// The string, number or list at `key` of an object; else nothing.
std::string string_at(const Json& object, const char* key);
const Json& at(const Json& object, const char* key);  // null where there is none
// Neither absent, null nor false
bool declared(const Json& object, std::initializer_list<const char*> path);

}  // namespace lares::cli::acp
