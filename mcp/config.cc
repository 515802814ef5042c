#include "mcp/config.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

namespace lares::mcp {
namespace {

using nlohmann::json;

// nullopt and a reason: the entry is no stdio server.
std::optional<ServerConfig> parse_server(const std::string& name, const json& entry,
                                         std::string& why) {
  ServerConfig server{name, "", "", {}, {}};
  if (!entry.is_object()) return why = "is not an object", std::nullopt;
  if (const auto type = entry.find("type"); type != entry.end() && *type != "stdio") {
    return why = fmt::format("has the type {}, and only stdio servers are supported", type->dump()),
           std::nullopt;
  }
  const auto command = entry.find("command");
  if (command == entry.end() || !command->is_string() ||
      command->get_ref<const std::string&>().empty()) {
    return why = "has no \"command\"", std::nullopt;
  }
  server.command = command->get<std::string>();
  if (const auto args = entry.find("args"); args != entry.end()) {
    if (!args->is_array()) return why = "\"args\" is not an array", std::nullopt;
    for (const auto& arg : *args) {
      if (!arg.is_string())
        return why = "\"args\" holds something other than strings", std::nullopt;
      server.args.push_back(arg.get<std::string>());
    }
  }
  if (const auto env = entry.find("env"); env != entry.end()) {
    if (!env->is_object()) return why = "\"env\" is not an object", std::nullopt;
    for (const auto& [key, value] : env->items()) {
      if (!value.is_string())
        return why = fmt::format("\"env\" gives {} no string", key), std::nullopt;
      server.env[key] = value.get<std::string>();
    }
  }
  if (const auto cwd = entry.find("cwd"); cwd != entry.end()) {
    if (!cwd->is_string()) return why = "\"cwd\" is not a string", std::nullopt;
    server.cwd = cwd->get<std::string>();
  }
  return server;
}

}  // namespace

Config read_config(const std::string& path) {
  Config config;
  if (path.empty()) return config;
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno != ENOENT)
      config.problems.push_back(fmt::format("read {}: {}", path, std::strerror(errno)));
    return config;
  }
  std::string text(kConfigBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad() || text.size() > kConfigBytesMax) {
    config.problems.push_back(
        fmt::format("read {}: larger than {} bytes, or not a file", path, kConfigBytesMax));
    return config;
  }
  const json root = json::parse(text, nullptr, false);
  const auto servers = root.is_object() ? root.find("mcpServers") : root.end();
  if (root.is_discarded() || !root.is_object() || servers == root.end() || !servers->is_object()) {
    config.problems.push_back(fmt::format(
        "read {}: expected JSON like {{\"mcpServers\": {{\"name\": {{\"command\": ...}}}}}}",
        path));
    return config;
  }
  for (const auto& [name, entry] : servers->items()) {
    std::string why;
    auto server = parse_server(name, entry, why);
    if (!server)
      config.problems.push_back(fmt::format("server {} in {}: {}", name, path, why));
    else if (config.servers.size() == kServersMax)
      config.problems.push_back(
          fmt::format("server {} in {}: more than {} servers", name, path, kServersMax));
    else
      config.servers.push_back(std::move(*server));
  }
  return config;
}

}  // namespace lares::mcp
