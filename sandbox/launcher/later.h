// What is mounted in a sandbox that is set up already: from outside, where the namespaces' owner
// has every right in them, and nobody inside has any.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "sandbox/launcher/mounts.h"
#include "sandbox/launcher/sys.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

class Later {
 public:
  Later() = default;  // of a sandbox that nothing can be added to
  // The namespaces of `pid`, a child that has not yet made itself unreadable.
  static Later of(pid_t pid, const Spec& spec);
  // Runs `what` in the sandbox's mount namespace, in a process of its own, for one cannot come
  // back. False: it failed and has told the daemon why.
  bool inside(const std::function<void(View&)>& what) const;
  // Reads one request from the control socket and answers it. False: the daemon has closed it.
  bool serve() const;

 private:
  Fd user_, mounts_;
  const Spec* spec_ = nullptr;
};

}  // namespace lares::sandbox::launcher
