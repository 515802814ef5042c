// How many clients of the protocol there may be, and how long one may be silent at first. Tests
// make these smaller, users never.
#pragma once

#include <chrono>
#include <cstddef>

namespace lares::daemon {

// As many as HTTP's beside them, with descriptors left for journals and children under the usual
// limit of 1,024.
inline constexpr std::size_t kClientsMax = 256;
inline constexpr std::size_t kClientsToldApartMax = 32;  // beyond them: it may be HTTP
// Until the first byte, which tells HTTP from this protocol. Who has said something may be silent
// for ever: it waits for events.
inline constexpr std::chrono::seconds kFirstByteTimeMax{30};

struct ClientLimits {
  std::size_t clients = kClientsMax;
  std::chrono::milliseconds first_byte = kFirstByteTimeMax;
};

}  // namespace lares::daemon
