// The two tools over a set of clients, for mcp.cc and for tests that need their own limits.
#pragma once

#include "mcp/config.h"
#include "mcp/connection.h"
#include "mcp/mcp.h"

namespace lares::mcp {

std::vector<std::unique_ptr<tools::Tool>> make_tools(asio::any_io_executor io,
                                                     const std::string& root, Config config,
                                                     const Limits& limits);

}  // namespace lares::mcp
