// A server's elicitation/create, put to a person as questions and read back as the result it wants.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "mcp/mcp.h"

namespace lares::mcp {

inline constexpr std::size_t kFieldsMax = 32;
inline constexpr int kTriesMax = 3;  // of one answer that does not fit its field
inline constexpr std::size_t kAnswerBytesMax = 64 << 10;

// {"action": "accept", "content": {...}}, or decline, or cancel: also where nobody is there, or the
// form makes no sense.
asio::awaitable<nlohmann::json> elicit(std::string server, nlohmann::json params, Elicit ask);

}  // namespace lares::mcp
