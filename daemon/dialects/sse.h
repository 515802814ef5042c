// Server-sent events: how every dialect streams. The payload is one line of JSON.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "daemon/http/exchange.h"

namespace lares::daemon {

inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";  // Chat Completions' last words
// a comment, which clients ignore
inline constexpr std::string_view kSseKeepAlive = ": keep-alive\n\n";

HttpReply sse_head();                                      // of Exchange::begin()
std::string sse_data(const nlohmann::ordered_json& json);  // "data: {...}\n\n"
// "event: NAME\ndata: {...}\n\n"
std::string sse_event(std::string_view name, const nlohmann::ordered_json& json);

}  // namespace lares::daemon
