#include "daemon/http/access.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/utf8.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kQuotedMax = 100;  // bytes of a client's own words in a message

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

// The time it takes says nothing about where they differ.
bool same_secret(std::string_view given, std::string_view token) {
  unsigned char differ = given.size() != token.size();
  for (std::size_t i = 0; i < given.size() && !token.empty(); ++i)
    differ |= static_cast<unsigned char>(given[i] ^ token[i % token.size()]);
  return differ == 0;
}

std::string_view bearer(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (!equal_ignoring_case(authorization.substr(0, kScheme.size()), kScheme)) return {};
  authorization.remove_prefix(kScheme.size());
  authorization.remove_prefix(std::min(authorization.find_first_not_of(' '), authorization.size()));
  return authorization;
}

}  // namespace

bool is_local_host(std::string_view host) {
  const auto colon = host.rfind(':');
  if (colon != std::string_view::npos && (host.front() != '[' || host[colon - 1] == ']')) {
    const std::string_view port = host.substr(colon + 1);
    if (port.empty() || port.find_first_not_of("0123456789") != std::string_view::npos)
      return false;
    host = host.substr(0, colon);
  }
  return equal_ignoring_case(host, "localhost") || host == "127.0.0.1" || host == "[::1]";
}

bool is_local_origin(std::string_view origin) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (origin.starts_with(scheme)) return is_local_host(origin.substr(scheme.size()));
  }
  return false;
}

std::optional<HttpRefusal> refuse_access(const HttpRequest& request, std::string_view token,
                                         CameOver over) {
  for (const auto& [name, value] : request.headers) {
    if (over == CameOver::tcp && name == "host" && !is_local_host(value))
      return HttpRefusal{
          403, fmt::format("the Host header must be localhost, 127.0.0.1 or [::1], and is {}",
                           utf8_prefix(value, kQuotedMax))};
    if (name == "origin" && !is_local_origin(value))
      return HttpRefusal{403, fmt::format("requests of the web page {} are not answered",
                                          utf8_prefix(value, kQuotedMax))};
  }
  if (token.empty()) return std::nullopt;
  if (same_secret(bearer(request.header("authorization")), token) ||
      same_secret(request.header("x-api-key"), token))
    return std::nullopt;
  return HttpRefusal{401,
                     "the API key must be the text of api-token in the state directory of laresd "
                     "(`lares status` shows where), as Authorization: Bearer or x-api-key",
                     {{"WWW-Authenticate", "Bearer"}}};
}

}  // namespace lares::daemon
