// The batches of JSON-RPC, which one version of MCP has: 2025-03-26. Its servers may answer so.
#pragma once

#include <string_view>
#include <vector>

#include "mcp/message.h"

namespace lares::mcp {

// What a line or an event says, one message or several. Never empty.
std::vector<Message> parse_messages(std::string_view text);

}  // namespace lares::mcp
