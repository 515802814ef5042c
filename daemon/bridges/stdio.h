// What both bridges do with their client's two descriptors. Nothing of them is made non-blocking,
// for they may be shared with others, the user's shell among them.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string_view>

namespace lares::cli {

inline constexpr std::size_t kStdioReadBytes = 64 << 10;  // at once
// PIPE_BUF: what a pipe that poll() calls writable takes without blocking
inline constexpr std::size_t kStdioWriteBytes = 4096;

// As write(2), which does not wait where poll() called `fd` writable: the rest is to be asked for
// again.
inline ssize_t write_some(int fd, std::string_view bytes) {
  return ::write(fd, bytes.data(), std::min(bytes.size(), kStdioWriteBytes));
}
// Of reading and writing: to be tried again behind another poll(). Whoever shares a descriptor may
// have made it non-blocking, and taken what there was.
inline bool is_passing(int error) { return error == EINTR || error == EAGAIN; }

}  // namespace lares::cli
