// What a command takes of the worktree's file system: a size for each file does not bound how many
// there are.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "sandbox/launcher/sys.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

class Growth {
 public:
  // `top`: whose descendants are the command's processes.
  Growth(const Spec& spec, pid_t top);
  // Why the tree must end, or "". What was taken since the last call counts when one of the
  // command's processes has run since: a shell that waits is not to blame for what the host writes
  // meanwhile. What is given back counts as well.
  std::string over();
  bool idle() const { return idle_; }  // none had run at the last call

 private:
  struct Space {
    std::uint64_t bytes_used = 0, bytes_free = 0, bytes_all = 0, inodes_used = 0, inodes_free = 0,
                  inodes_all = 0;
  };
  bool look(Space& out) const;
  bool has_run();

  const Spec& spec_;
  pid_t top_;
  Fd worktree_;
  Space began_, last_;
  std::int64_t bytes_taken_ = 0, inodes_taken_ = 0;
  std::uint64_t ran_ns_ = 0;
  std::int64_t window_began_ = 0;  // seconds
  bool idle_ = false;
};

}  // namespace lares::sandbox::launcher
