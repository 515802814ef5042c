// Starting one child: what fork and exec need between each other, without copying the caller's page
// tables.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/fd.h"
#include "sandbox/sandbox.h"

namespace lares::sandbox {

struct StartOptions {
  std::string path;  // of the program; a name without '/' is looked up in env's PATH
  std::vector<std::string> argv, env;
  std::string cwd;                       // "" leaves it
  std::vector<std::pair<int, int>> fds;  // (ours, the child's); the child has no others
  // PR_SET_PDEATHSIG, which watches the calling *thread*; also its own session
  bool dies_with_parent = false;
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
