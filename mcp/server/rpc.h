// JSON-RPC messages as texts.
#pragma once

#include <string>
#include <string_view>

#include "mcp/server.h"

namespace lares::mcp::server {

inline constexpr std::size_t kDepthMax = 64;  // of a message's JSON: reading and printing it
                                              // recurse
inline constexpr std::size_t kIdBytesMax = 256;
inline constexpr std::string_view kMetaPrefix = "io.modelcontextprotocol/";

std::string text_of(const Json& message);  // bytes that are no UTF-8 are replaced
std::string result_text(const Json& id, Json result);
std::string notification_text(std::string_view method, Json params);
std::string request_text(const Json& id, std::string_view method, Json params);

// object[key], or null where it is no object or has none.
const Json& member(const Json& object, std::string_view key);
std::string string_member(const Json& object, std::string_view key);
const Json& meta(const Json& params,
                 std::string_view name);  // _meta["io.modelcontextprotocol/NAME"]

}  // namespace lares::mcp::server
