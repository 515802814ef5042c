// The address of an HTTP server: http(s)://host[:port][/path][?query].
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lares::mcp {

struct Url {
  bool tls = false;
  std::string host;       // without brackets
  std::string port;       // "80" or "443" where the address names none
  std::string authority;  // as the Host header has it
  std::string target;     // path and query
};

// nullopt and a reason that follows the address's name.
std::optional<Url> parse_url(std::string_view text, std::string& why);

}  // namespace lares::mcp
