// What is hidden in a sandbox that runs already: from outside, where the namespaces' owner has
// every right in them, and nobody inside has any.
#pragma once

#include <sys/types.h>

#include <string>

#include "sandbox/launcher/sys.h"

namespace lares::sandbox::launcher {

class Later {
 public:
  Later() = default;  // of a sandbox that nothing can be added to
  // The namespaces of `pid`, a child that has not yet made itself unreadable.
  static Later of(pid_t pid);
  // Reads one request from the control socket and answers it. False: the daemon has closed it.
  bool serve() const;

 private:
  void hide(const std::string& paths) const;
  Fd user_, mounts_;
};

}  // namespace lares::sandbox::launcher
