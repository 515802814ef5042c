// The servers that a .mcp.json names: {"mcpServers": {NAME: {"command", "args", "env", "cwd"}}}.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace lares::mcp {

struct ServerConfig {
  std::string name, command, cwd;  // cwd: "" is the repository's root
  std::vector<std::string> args;
  std::map<std::string, std::string> env;  // added to what every server gets
};

struct Config {
  std::vector<ServerConfig> servers;  // by name
  std::vector<std::string> problems;  // one line each: what of the file is not used, and why
};

inline constexpr std::size_t kConfigBytesMax = 1 << 20;
inline constexpr std::size_t kServersMax = 32;

// A file that does not exist is no problem: nothing is configured.
Config read_config(const std::string& path);

}  // namespace lares::mcp
