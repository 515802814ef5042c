// The two tools over a set of clients, for mcp.cc and for tests that need their own limits.
#pragma once

#include "mcp/client.h"
#include "mcp/mcp.h"

namespace lares::mcp {

inline constexpr std::size_t kOutputBytesMax = 16'000;
inline constexpr std::size_t kNotesBytesMax = 4'000;  // of what is wrong with servers

// Sorted by name. Both tools share it; servers live as long as the tools.
struct Servers {
  std::vector<std::shared_ptr<Client>> clients;
  std::vector<std::string> problems;
  int search_patience_ms = Limits().search_patience_ms;
  asio::thread_pool* threads = nullptr;  // as Limits
};

std::vector<std::unique_ptr<tools::Tool>> make_tools(asio::any_io_executor io, const Place& place,
                                                     Config config, Elicit elicit,
                                                     const Limits& limits);

std::unique_ptr<tools::Tool> make_search_tool(asio::any_io_executor io,
                                              std::shared_ptr<Servers> servers);
std::unique_ptr<tools::Tool> make_call_tool(std::shared_ptr<Servers> servers);

// What both answer when there is nothing to search or call.
std::string none_configured(const Servers& servers);

// `text` with at most `n_max` bytes, whole characters, and a word about what is missing.
std::string cut(std::string text, std::size_t n_max, std::string_view note);

}  // namespace lares::mcp
