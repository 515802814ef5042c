// The servers that a .mcp.json names: {"mcpServers": {NAME: {"command", "args", "env", "cwd"} or
// {"type": "http", "url", "headers"}}}.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "mcp/mcp.h"

namespace lares::mcp {

inline constexpr std::size_t kConfigBytesMax = 1 << 20;
inline constexpr std::size_t kServersMax = 32;
inline constexpr std::size_t kExpandedBytesMax = 64 << 10;  // of one string after ${...}

// The value of a variable; nullopt: it is not set.
using Variables = std::function<std::optional<std::string>(const std::string& name)>;
std::optional<std::string> environment_variable(const std::string& name);

// Replaces ${NAME} and ${NAME:-default}; nullopt and a reason that follows the string's name.
std::optional<std::string> expanded(const std::string& text, const Variables& variables,
                                    std::string& why);

// A file that does not exist is no problem: nothing is configured.
Config read_config(const std::string& path, const Variables& variables = environment_variable);

// What a session uses: its client's servers, then the user's; the repository's are named where they
// are not among these.
Config session_config(const Options& options);

// The names of those that mcp_search looks at: what was configured when its session began. None of
// any other tool.
std::vector<std::string> servers_searched(const tools::Tool& tool);

}  // namespace lares::mcp
