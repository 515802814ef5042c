// Where HTTP may be listened for over TCP: on this machine's own addresses, which no other machine
// reaches.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lares::daemon {

struct ListenAddress {
  bool v6 = false;         // ::1, else 127.0.0.1
  std::uint16_t port = 0;  // 0: one that is free
};

inline constexpr std::string_view kListenAddressForm =
    "127.0.0.1:PORT or [::1]:PORT, which only this machine reaches";
std::optional<ListenAddress> parse_listen_address(std::string_view text);

}  // namespace lares::daemon
