// The command's own control group, made by the daemon: opened with the rights the launcher starts
// with, for the kernel asks who opened the file, not who writes it.
#pragma once

#include "sandbox/launcher/sys.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

class CommandGroup {
 public:
  static CommandGroup open(const Spec& spec);
  // Puts the calling process in, which then runs another program. Its children follow, and none can
  // leave: inside no group is writable.
  void join() const;
  // Whether the kernel killed one of its processes for want of memory.
  bool out_of_memory() const;

 private:
  Fd members_, events_;
};

}  // namespace lares::sandbox::launcher
