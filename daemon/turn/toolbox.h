// The tools of one session, in the order of the catalogue: the built-in ones, the two that reach
// MCP servers, ask_user and plan.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "mcp/mcp.h"
#include "tools/builtin.h"
#include "tools/tool.h"

namespace lares::daemon {

namespace asio = boost::asio;

using Tools = std::vector<std::unique_ptr<tools::Tool>>;

inline constexpr std::string_view kAskUser = "ask_user", kPlan = "plan";
inline constexpr std::size_t kPlanStepsMax = 100;

// Puts a question to the user and waits; nullopt: nobody is there, or the wait was cancelled.
using Ask = std::function<asio::awaitable<std::optional<std::string>>(std::string question)>;

struct ToolboxOptions {
  tools::BuiltinOptions builtin;
  std::string mcp_config;                      // the user's own .mcp.json; empty: no servers
  std::vector<mcp::ServerConfig> mcp_servers;  // given by a client for this session; before those
};

Tools make_tools(asio::any_io_executor io, const ToolboxOptions& options, Ask ask);

// Other MCP servers from now on; those that ran end. Everything else of the session's tools stays
// as it is, the shell included.
void use_mcp_servers(Tools& tools, asio::any_io_executor io, const ToolboxOptions& options,
                     Ask ask);

// nullptr when the catalogue has no such tool.
tools::Tool* find_tool(const Tools& tools, const std::string& name);

}  // namespace lares::daemon
