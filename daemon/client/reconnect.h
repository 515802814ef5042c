// How clients that stay come back to a daemon that they lost: one that is restarted is there again
// at once, and one that cannot be had costs nothing.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>

#include <fmt/format.h>

#include "daemon/client/start.h"

namespace lares::cli {

inline constexpr std::chrono::milliseconds kReconnectPauseMin{50}, kReconnectPauseMax{2000};
// In a row, of somebody that takes connections and says nothing: then those who wait are told
inline constexpr int kHangupsMax = 8;

// Before the next attempt, after so many in a row that failed: doubled each time.
constexpr std::chrono::milliseconds reconnect_pause(int n_failed) {
  return std::min(kReconnectPauseMax, kReconnectPauseMin * (1 << std::min(n_failed, 6)));
}
inline std::string hung_up_text(const DaemonAddress& address, int n_hangups) {
  return fmt::format("greet the daemon at {}: it hung up {} times; see laresd.log in {}",
                     address.socket, n_hangups, address.state_dir);
}

}  // namespace lares::cli
