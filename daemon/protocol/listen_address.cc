#include "daemon/protocol/listen_address.h"

#include <charconv>

namespace lares::daemon {

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
  ListenAddress address;
  for (const std::string_view host : {"127.0.0.1:", "[::1]:"}) {
    if (!text.starts_with(host)) continue;
    address.v6 = host.front() == '[';
    const std::string_view port = text.substr(host.size());
    const auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (ec == std::errc() && end == port.data() + port.size()) return address;
  }
  return std::nullopt;
}

}  // namespace lares::daemon
