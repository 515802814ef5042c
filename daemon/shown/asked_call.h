// A call that waits for permission, as a person is shown it: whole and as it is, for what is left
// out nobody has agreed to.
#pragma once

#include <cstddef>
#include <string>

#include "daemon/protocol/protocol.h"

namespace lares::shown {

struct AskedCall {
  std::string what;   // a command, an edit's command and path, any other call's arguments
  std::string lines;  // of an edit those that go and come, with "-" and "+" before them
};
// Of each; more is cut from the middle, and says so
inline constexpr std::size_t kAskedBytesMax = 16 << 10;

AskedCall asked_call(const daemon::protocol::Item& item);  // exact (shown/text.h)

}  // namespace lares::shown
