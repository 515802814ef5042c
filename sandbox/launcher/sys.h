// What the launcher's parts share: failing in one line, descriptors, and the system calls
// glibc 2.36 has no names for.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "sandbox/beneath.h"
#include "sandbox/fd.h"

namespace lares::sandbox::launcher {

// One line on stderr, the same to the daemon, exit 125. `layer` is a name that fixes.cc knows, or
// "policy".
[[noreturn]] void fail_with(std::string_view layer, const std::string& message);

template <class... Args>
[[noreturn]] void fail(std::string_view layer, fmt::format_string<Args...> text, Args&&... args) {
  fail_with(layer, fmt::format(text, std::forward<Args>(args)...));
}

// The same with ": strerror(errno)" behind it.
[[noreturn]] void fail_errno_with(std::string_view layer, int error, const std::string& message);

template <class... Args>
[[noreturn]] void fail_errno(std::string_view layer, fmt::format_string<Args...> text,
                             Args&&... args);

std::string errno_text(int error);

int pidfd_send_signal(int pidfd, int signal);
int pidfd_open(pid_t pid);
// clone3 with CLONE_PIDFD; 0 in the child.
pid_t clone_with(uint64_t flags, int* pidfd);
// False with errno set.
bool write_file(const char* path, std::string_view text);
bool write_all(int fd, std::string_view bytes);
// All of a small file, cut at `max`; "" when it cannot be read.
std::string read_file(int fd, std::size_t max);
// The same of one of /proc's, at most 64 KiB.
std::string text_of(const std::string& path);

template <class... Args>
[[noreturn]] void fail_errno(std::string_view layer, fmt::format_string<Args...> text,
                             Args&&... args) {
  const int error = *__errno_location();
  fail_errno_with(layer, error, fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace lares::sandbox::launcher
