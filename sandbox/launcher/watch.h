// Memory and number of all processes in the sandbox, for hosts without a control group to hold
// them.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sandbox/launcher/sys.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

class Watch {
 public:
  // Of all in this PID namespace, whose first process we are.
  static Watch of_namespace(const Spec& spec);
  // Of all below this process, seen from outside; `command` tells which namespaces are theirs.
  static Watch of_children(const Spec& spec, pid_t command);

  // Why the tree must end, or "". Counts what cannot be dropped, each page once: anonymous and
  // shared memory, files that exist in memory only (memfd, System V segments); not tmpfs, which has
  // sizes of its own. A process that hides itself (a program it may not read) is counted by what it
  // maps alone, and that in full.
  std::string over_limit() const;

 private:
  Watch(const Spec& spec, pid_t top, std::size_t n_own, Fd segments)
      : spec_(spec), top_(top), n_own_(n_own), segments_(std::move(segments)) {}
  std::vector<pid_t> processes() const;
  std::uint64_t segment_bytes() const;

  const Spec& spec_;
  pid_t top_;          // 0: all
  std::size_t n_own_;  // processes that are the sandbox's and not the command's
  Fd segments_;        // the namespace's list of System V segments; of a kernel without them none
};

// The same words when it was the kernel that found out.
std::string too_much_memory(const Spec& spec);

}  // namespace lares::sandbox::launcher
