// MCP servers' tools, reached through two fixed tools so that the prompt's catalogue never changes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "tools/tool.h"

namespace lares::mcp {

namespace asio = boost::asio;

struct Options {
  std::string root;         // servers start here; its .mcp.json names them (user-approved servers only)
  std::string config_path;  // a .mcp.json, or empty for none
};

// mcp_search(query) and mcp_call(server, tool, arguments), in this order. Servers start at the first use.
std::vector<std::unique_ptr<tools::Tool>> make_mcp_tools(asio::any_io_executor io, const Options& options);

}  // namespace lares::mcp
