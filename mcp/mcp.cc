#include "mcp/mcp.h"

#include <fmt/format.h>

#include "mcp/config.h"
#include "mcp/tools.h"
#include "tools/text.h"

namespace lares::mcp {

std::string none_configured(const Servers& servers) {
  std::string text = "no MCP servers are configured";
  for (const auto& problem : servers.problems) text += "; " + problem;
  return cut(std::move(text), kNotesBytesMax, "");
}

std::string cut(std::string text, std::size_t n_max, std::string_view note) {
  if (text.size() <= n_max) return text;
  const std::size_t n = tools::utf8_floor(text, n_max);
  const auto left = text.size() - n;
  text.resize(n);
  return text + fmt::format("[cut: {} more bytes{}]", left, note);
}

std::vector<std::unique_ptr<tools::Tool>> make_tools(asio::any_io_executor io, const Place& place,
                                                     Config config, Elicit elicit,
                                                     const Limits& limits) {
  auto servers = std::make_shared<Servers>();
  servers->problems = std::move(config.problems);
  servers->search_patience_ms = limits.search_patience_ms;
  servers->threads = limits.threads;
  for (auto& server : config.servers)
    servers->clients.push_back(
        std::make_shared<Client>(io, std::move(server), place, elicit, limits));
  std::vector<std::unique_ptr<tools::Tool>> both;
  both.push_back(make_search_tool(io, servers));
  both.push_back(make_call_tool(servers));
  return both;
}

std::vector<std::unique_ptr<tools::Tool>> make_mcp_tools(asio::any_io_executor io,
                                                         const Options& options,
                                                         asio::thread_pool* threads) {
  return make_tools(io, {options.root, options.launcher, options.start}, session_config(options),
                    options.elicit, {.threads = threads});
}

}  // namespace lares::mcp
