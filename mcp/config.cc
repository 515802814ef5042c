#include "mcp/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "mcp/http_url.h"
#include "mcp/message.h"

namespace lares::mcp {
namespace {

constexpr std::size_t kNameBytesShown = 80;  // of a server that only the repository names

using nlohmann::json;
using Headers = std::vector<std::pair<std::string, std::string>>;

// One entry being read: `why` says what is wrong with it, once something is.
struct Reading {
  const Variables* variables;  // null: nothing is expanded
  std::string why;

  bool string(const json& value, const std::string& what, std::string& into) {
    if (!value.is_string()) return why = what + " is not a string", false;
    into = value.get<std::string>();
    if (into.find('\0') != std::string::npos) return why = what + " holds a NUL byte", false;
    if (!variables) return true;
    std::string reason;
    auto text = expanded(into, *variables, reason);
    if (!text) return why = what + " " + reason, false;
    into = std::move(*text);
    return true;
  }

  bool strings(const json& entry, const char* key, std::vector<std::string>& into) {
    const auto list = entry.find(key);
    if (list == entry.end()) return true;
    if (!list->is_array()) return why = fmt::format("\"{}\" is not an array", key), false;
    for (const auto& value : *list) {
      const auto what = fmt::format("\"{}\"[{}]", key, into.size());
      if (!string(value, what, into.emplace_back())) return false;
    }
    return true;
  }

  // {NAME: VALUE} or [{"name": NAME, "value": VALUE}].
  bool pairs(const json& entry, const char* key, Headers& into) {
    const auto found = entry.find(key);
    if (found == entry.end()) return true;
    if (!found->is_object() && !found->is_array())
      return why = fmt::format("\"{}\" is not an object", key), false;
    for (const auto& [at, value] : found->items()) {
      const bool named = found->is_object();
      const std::string name = named ? at : text_at(value, "name");
      if (name.empty()) return why = fmt::format("\"{}\" has an entry without a name", key), false;
      std::string text;
      if (!string(named ? value : value.value("value", json()), fmt::format("\"{}\".{}", key, name),
                  text))
        return false;
      into.emplace_back(name, std::move(text));
    }
    return true;
  }
};

bool is_token(const std::string& text) {
  const auto good = [](unsigned char c) {
    return std::isalnum(c) || std::strchr("!#$%&'*+-.^_`|~", c);
  };
  return !text.empty() && std::ranges::all_of(text, good);
}

bool read_http(const json& entry, ServerConfig& server, Reading& reading) {
  const auto url = entry.find("url");
  if (url == entry.end()) return reading.why = "has no \"url\"", false;
  if (!reading.string(*url, "\"url\"", server.url)) return false;
  std::string wrong;
  if (!parse_url(server.url, wrong)) return reading.why = "\"url\" " + wrong, false;
  if (!reading.pairs(entry, "headers", server.headers)) return false;
  for (const auto& [name, value] : server.headers) {
    if (!is_token(name) ||
        std::ranges::any_of(value, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
      return reading.why = fmt::format("\"headers\".{} is no header that HTTP can carry", name),
             false;
  }
  return true;
}

bool read_stdio(const json& entry, ServerConfig& server, Reading& reading) {
  const auto command = entry.find("command");
  if (command == entry.end()) return reading.why = "has no \"command\" and no \"url\"", false;
  if (!reading.string(*command, "\"command\"", server.command)) return false;
  if (server.command.empty()) return reading.why = "\"command\" is empty", false;
  if (!reading.strings(entry, "args", server.args)) return false;
  Headers env;
  if (!reading.pairs(entry, "env", env)) return false;
  for (auto& [name, value] : env) {
    if (name.find('=') != std::string::npos)
      return reading.why = fmt::format("\"env\" has the name {}", name), false;
    server.env[name] = std::move(value);
  }
  const auto cwd = entry.find("cwd");
  return cwd == entry.end() || reading.string(*cwd, "\"cwd\"", server.cwd);
}

// False and reading.why: the entry is no server that can be used.
bool read_server(const json& entry, ServerConfig& server, Reading& reading) {
  if (!entry.is_object()) return reading.why = "is not an object", false;
  const bool typed = entry.contains("type");
  const std::string type = text_at(entry, "type");
  if (type == "sse")
    return reading.why =
               "has the type \"sse\", the transport of 2024; give the server's Streamable HTTP url "
               "and the type \"http\"",
           false;
  const bool http = type == "http" || type == "streamable-http" || type == "streamableHttp";
  if (typed && !http && type != "stdio")
    return reading.why = fmt::format("has the type {}, and only \"stdio\" and \"http\" are known",
                                     dumped(entry["type"])),
           false;
  if (http || (!typed && !entry.contains("command") && entry.contains("url")))
    return read_http(entry, server, reading);
  return read_stdio(entry, server, reading);
}

Config read_servers(const json& servers, std::string_view where, const Variables* variables) {
  Config config;
  for (const auto& [at, entry] : servers.items()) {
    ServerConfig server;
    server.name = servers.is_object() ? at : text_at(entry, "name");
    const auto problem = [&](const std::string& why) {
      config.problems.push_back(
          fmt::format("server {} in {}: {}", server.name.empty() ? at : server.name, where, why));
    };
    if (entry.is_object() && entry.value("disabled", json()) == true) continue;
    Reading reading{variables, {}};
    if (server.name.empty())
      problem("has no name");
    else if (std::ranges::find(config.servers, server.name, &ServerConfig::name) !=
             config.servers.end())
      problem("has the name of another");
    else if (!read_server(entry, server, reading))
      problem(reading.why);
    else if (config.servers.size() == kServersMax)
      problem(fmt::format("more than {} servers", kServersMax));
    else
      config.servers.push_back(std::move(server));
  }
  std::ranges::sort(config.servers, {}, &ServerConfig::name);
  return config;
}

// The value of "mcpServers"; null where there is none, and then `problem` may say why.
json servers_of(const std::string& path, std::string& problem) {
  if (path.empty()) return {};
  errno = 0;
  std::error_code ec;
  if (const auto kind = std::filesystem::status(path, ec).type();
      kind != std::filesystem::file_type::regular &&
      kind != std::filesystem::file_type::not_found) {
    // a pipe would be waited for
    return problem = fmt::format("read {}: not a file", path), json();
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno != ENOENT) problem = fmt::format("read {}: {}", path, std::strerror(errno));
    return {};
  }
  std::string text(kConfigBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad() || text.size() > kConfigBytesMax) {
    problem = fmt::format("read {}: larger than {} bytes, or not a file", path, kConfigBytesMax);
    return {};
  }
  if (nested_too_deep(text))
    return problem = fmt::format("read {}: nested deeper than {}", path, kNestingMax), json();
  json root = json::parse(text, nullptr, false);
  if (root.is_object() && root.contains("mcpServers") && root["mcpServers"].is_object())
    return std::move(root["mcpServers"]);
  problem = fmt::format(
      "read {}: expected JSON like {{\"mcpServers\": {{\"name\": {{\"command\": ...}}}}}}", path);
  return {};
}

}  // namespace

std::optional<std::string> environment_variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? std::optional<std::string>(value) : std::nullopt;
}

std::optional<std::string> expanded(const std::string& text, const Variables& variables,
                                    std::string& why) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto open = text.find("${", at);
    out.append(text, at, open == std::string::npos ? open : open - at);
    if (open == std::string::npos) break;
    const auto close = text.find('}', open);
    if (close == std::string::npos) return why = "has a ${ without its }", std::nullopt;
    const std::string inner = text.substr(open + 2, close - open - 2);
    const auto colon = inner.find(":-");
    const std::string name = inner.substr(0, colon);
    const auto value = variables(name);
    // As in a shell: the default also stands for an empty value.
    if (colon != std::string::npos && (!value || value->empty()))
      out += inner.substr(colon + 2);
    else if (value)
      out += *value;
    else
      return why = fmt::format(
                 "needs the variable {}, which is not set; set it, or write ${{{}:-default}}", name,
                 name),
             std::nullopt;
    if (out.size() > kExpandedBytesMax)
      return why = fmt::format("is longer than {} bytes", kExpandedBytesMax), std::nullopt;
    at = close + 1;
  }
  return out;
}

Config parse_servers(const json& servers, std::string_view where) {
  if (servers.is_null()) return {};
  if (!servers.is_object() && !servers.is_array())
    return {{}, {fmt::format("MCP servers in {}: neither an object nor an array", where)}};
  return read_servers(servers, where, nullptr);
}

Config read_config(const std::string& path, const Variables& variables) {
  std::string problem;
  const json servers = servers_of(path, problem);
  auto config = servers.is_null() ? Config{} : read_servers(servers, path, &variables);
  if (!problem.empty()) config.problems.insert(config.problems.begin(), problem);
  return config;
}

Config session_config(const Options& options) {
  Config config{options.servers, {}};
  const auto known = [&](const std::string& name) {
    return std::ranges::find(config.servers, name, &ServerConfig::name) != config.servers.end();
  };
  auto own = read_config(options.config_path);
  config.problems = std::move(own.problems);
  for (auto& server : own.servers) {
    if (!known(server.name)) config.servers.push_back(std::move(server));
  }
  std::string problem;
  const json repository = servers_of(options.repository_config_path, problem);
  if (!problem.empty()) config.problems.push_back(problem);
  for (const auto& [name, entry] : repository.items()) {
    if (known(name) || config.problems.size() >= kServersMax) continue;
    config.problems.push_back(
        fmt::format("server {} in {}: is not started on the repository's word; to approve it, copy "
                    "its entry to {}",
                    name.substr(0, kNameBytesShown), options.repository_config_path,
                    options.config_path.empty() ? "your own mcp.json" : options.config_path));
  }
  std::ranges::sort(config.servers, {}, &ServerConfig::name);
  return config;
}

}  // namespace lares::mcp
