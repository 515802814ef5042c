// The file system a command sees: the host's, read-only, with private and empty places, and the
// worktree.
#pragma once

#include <string>
#include <vector>

#include "sandbox/launcher/identity.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

// Builds it and makes it the root directory. In the new mount and PID namespaces, with all
// capabilities over them.
void enter_view(const Spec& spec, Identity& identity, const std::vector<std::string>& sockets);

}  // namespace lares::sandbox::launcher
