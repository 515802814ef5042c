// What a command takes of the worktree's file system: a size for each file does not bound how many
// there are.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/launcher/sys.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

class Growth {
 public:
  // `top`: whose descendants are the command's processes.
  Growth(const Spec& spec, pid_t top);
  // Why the tree must end, or "". What was taken since the last call counts when one of the
  // command's processes has run since the one before it: a shell that waits is not to blame for
  // what the host writes meanwhile. What is given back counts as well. Before the command is blamed
  // the worktree is looked at, for the rest is others'.
  std::string over();
  bool idle() const { return idle_; }  // none had run at the last call

 private:
  struct Space {
    std::uint64_t bytes_used = 0, bytes_free = 0, bytes_all = 0, inodes_used = 0, inodes_free = 0,
                  inodes_all = 0;
  };
  bool look(Space& out) const;
  bool has_run();
  std::string too_much(const Space& now) const;
  std::string blame(const Space& now);

  const Spec& spec_;
  pid_t top_;
  Fd worktree_;
  Space began_, last_;
  std::int64_t bytes_taken_ = 0, inodes_taken_ = 0;
  std::uint64_t ran_ns_ = 0;
  std::vector<pid_t> processes_;   // at the last call
  std::int64_t window_began_ = 0;  // seconds, of the monotonic clock
  std::int64_t since_ = 0;         // the same, of the one that files are stamped with
  std::int64_t look_at_ms_ = 0;    // no look at the worktree before
  bool idle_ = false, ran_before_ = false;
};

}  // namespace lares::sandbox::launcher
