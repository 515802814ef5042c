// One turn, from the prompt to its end.
#pragma once

#include <string>

#include "daemon/cli/options.h"

namespace lares::cli {

// Begins a session, in a worktree of its own where that is wanted, or goes on with the one that
// `turn` names, sends the prompt in `mode` and follows its turn. Returns the exit status. Both
// options are resolved.
int run_turn(const DaemonOptions& daemon, const TurnOptions& turn, bool worktree, std::string mode,
             std::string prompt);

}  // namespace lares::cli
