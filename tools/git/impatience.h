// libgit2 opens a .gitignore as it opens any file, and whoever opens a pipe waits until somebody
// writes: a command that puts one there would hold up a thread for ever. A look at the file first
// leaves it a moment to do so. So what waits is interrupted.
#pragma once

#include <csignal>

namespace lares::tools::git {

// Ignored by default and of no use to anybody here; in a thread that can be interrupted it ends a
// system call that waits, with EINTR.
inline constexpr int kInterrupt = SIGURG;
void can_be_interrupted();  // the calling thread, from now on

// While one lives, or several, the calling thread is interrupted after a twentieth of a second, and
// again and again. Reading and writing files goes on regardless.
class Impatience {
 public:
  Impatience();
  ~Impatience();
  Impatience(const Impatience&) = delete;
};

}  // namespace lares::tools::git
