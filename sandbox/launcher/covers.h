// Which paths are read-only or hidden inside the view.
#pragma once

#include <string>
#include <vector>

#include "sandbox/launcher/mounts.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

// kObeyedOutside, files that other programs outside would execute later, the policy's own lists,
// and sockets on which the host listens.
void cover_worktree(View& view, const Spec& spec, const std::vector<std::string>& sockets);

// For a command that is the host's root by number: everything in /etc and near the top of /var that
// only root may read.
void cover_roots_files(View& view);

}  // namespace lares::sandbox::launcher
