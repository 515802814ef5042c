#include "mcp/http_url.h"

#include <algorithm>
#include <cctype>

namespace lares::mcp {

std::optional<Url> parse_url(std::string_view text, std::string& why) {
  Url url;
  std::string scheme(text.substr(0, text.find("://")));
  for (char& c : scheme) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (scheme != "http" && scheme != "https")
    return why = "does not begin with http:// or https://", std::nullopt;
  // The address becomes a request line: a space or a control character would end it early.
  if (std::ranges::any_of(text, [](unsigned char c) { return c <= 0x20 || c >= 0x7f; }))
    return why = "holds a character that must be percent-encoded", std::nullopt;
  url.tls = scheme == "https";
  text.remove_prefix(scheme.size() + 3);
  text = text.substr(0, text.find('#'));
  const auto slash = text.find_first_of("/?");
  url.authority = text.substr(0, slash);
  url.target = slash == std::string_view::npos ? "/" : text.substr(slash);
  if (url.target.front() == '?') url.target.insert(url.target.begin(), '/');
  if (url.authority.find('@') != std::string::npos)
    return why = "holds a user name; put it into a header", std::nullopt;
  const bool bracketed = url.authority.starts_with('[');
  const auto end = bracketed ? url.authority.find(']') : url.authority.find(':');
  if (bracketed && end == std::string::npos) return why = "has a [ without its ]", std::nullopt;
  url.host = bracketed ? url.authority.substr(1, end - 1) : url.authority.substr(0, end);
  const auto colon = bracketed ? end + 1 : end;
  url.port = url.tls ? "443" : "80";
  if (colon != std::string::npos && colon < url.authority.size()) {
    url.port = url.authority.substr(colon + 1);
    const bool digits = std::ranges::all_of(url.port,
                                            [](unsigned char c) { return std::isdigit(c); });
    if (url.authority[colon] != ':' || url.port.empty() || url.port.size() > 5 || !digits ||
        std::stoi(url.port) > 65535)
      return why = "has no port between 1 and 65535 after its host", std::nullopt;
  }
  if (url.host.empty()) return why = "names no host", std::nullopt;
  return url;
}

}  // namespace lares::mcp
