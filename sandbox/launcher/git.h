// Git configurations hold credentials as often as not: a token in a remote's address, an
// extraheader that CI has left. Commands need the file, for git does, but not these.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sandbox/launcher/mounts.h"
#include "sandbox/launcher/sources.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

// (path, text to show instead) of those that hold any: of the worktree's repository, wherever it is
// (one of `sources` when outside), of its linked worktrees and submodules, and of the repositories
// among spec.readonly.
std::vector<std::pair<std::string, std::string>> configs_without_credentials(
    const View& view, const Spec& spec, const std::vector<Source>& sources);

}  // namespace lares::sandbox::launcher
