// MCP servers' tools, reached through two fixed tools so that the prompt's catalogue never changes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <nlohmann/json_fwd.hpp>

#include "tools/tool.h"

namespace lares::mcp {

namespace asio = boost::asio;

// A process (`command`), or the address of a Streamable HTTP server (`url`).
struct ServerConfig {
  std::string name, command, cwd;  // cwd: relative to the repository's root; "" is Options::start
  std::vector<std::string> args;
  std::map<std::string, std::string> env;  // added to what every server gets
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;  // sent with every request to `url`
};

struct Config {
  std::vector<ServerConfig> servers;  // by name
  // One line each: what of the configuration is not used, and why
  std::vector<std::string> problems;
};

// The value of `mcpServers`: {NAME: {...}} as a .mcp.json has it, or [{"name": NAME, ...}] as ACP
// sends it, with env and headers as objects or as lists of {name, value}. Nothing is expanded; the
// problems begin "server NAME in WHERE: ".
Config parse_servers(const nlohmann::json& servers, std::string_view where);

// Puts a server's question to the person at the session; nullopt: nobody is there, or the wait was
// cancelled.
using Elicit = std::function<asio::awaitable<std::optional<std::string>>(std::string question)>;

struct Options {
  std::string root;         // servers are told that it is their root
  std::string start;        // and start here, outside of it; "" is the root
  std::string config_path;  // the user's own .mcp.json, or empty for none
  // Path of lares-sandbox, which sees to it that nothing a server has started outlives it
  std::string launcher;
  // The servers that the repository's .mcp.json names are started only where the user's own file
  // names them too; the others are listed as not approved. Empty: it is not looked at.
  std::string repository_config_path;
  // Given by a client for this session; before those of the file
  std::vector<ServerConfig> servers;
  Elicit elicit;  // without it servers are told that nobody can be asked
};

// mcp_search(query) and mcp_call(server, tool, arguments), in this order. Servers start at the
// first use. `threads` read and show messages of megabytes, while the io thread serves others;
// null: all on the io thread.
std::vector<std::unique_ptr<tools::Tool>> make_mcp_tools(asio::any_io_executor io,
                                                         const Options& options,
                                                         asio::thread_pool* threads = nullptr);

}  // namespace lares::mcp
