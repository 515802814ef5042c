// The tools that MCP clients are offered: what their models read of them.
#pragma once

#include <string_view>

#include "mcp/server.h"

namespace lares::daemon {

mcp::server::Json mcp_tools();
mcp::server::Json mcp_resource_templates();
extern const std::string_view kMcpInstructions;

// Of an argument that is wrong: one line. Empty: all are as the tool's schema wants them. One that
// is null is none: models fill in what they may leave out.
std::string wrong_argument(std::string_view tool, const mcp::server::Json& arguments);

}  // namespace lares::daemon
