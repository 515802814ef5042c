// Starting one child: what fork and exec need between each other, without copying the caller's page
// tables.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/sandbox.h"

namespace lares::sandbox {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct StartOptions {
  std::string path;  // of the program; a name without '/' is looked up in env's PATH
  std::vector<std::string> argv, env;
  std::string cwd;                       // "" leaves it
  std::vector<std::pair<int, int>> fds;  // (ours, the child's); the child has no others
  bool dies_with_parent = false;  // PR_SET_PDEATHSIG, which watches the calling *thread*; also its
                                  // own session
};

struct Started {
  int pid = -1;
  Fd pidfd;
};

// The program that `name` means: itself if it has a '/', else where env's PATH has it; empty:
// nowhere.
std::string find_program(const std::string& name, const std::vector<std::string>& env);
Error no_such_program(const std::string& name);

// Errc::unavailable when the program cannot be started.
Result<Started> start(const StartOptions& options);

}  // namespace lares::sandbox
