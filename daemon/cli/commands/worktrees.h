// lares worktrees and lares apply.
#pragma once

#include "daemon/cli/terminal/screen.h"
#include "daemon/client/link.h"
#include "daemon/protocol/worktree_wire.h"

namespace lares::cli {

int worktrees_command(int argc, const char* const* argv);  // lares worktrees [remove ID]
int apply_command(int argc, const char* const* argv);      // lares apply [ID]

// A table, cut to the width of `terminal`.
std::string worktrees_text(const std::vector<daemon::protocol::WorktreeInfo>& worktrees,
                           const Terminal& terminal);
// What applying did, or would do, or what taking it back did.
std::string applied_text(const daemon::protocol::WorktreeApplyResult& done,
                         const daemon::protocol::WorktreeApply& asked);
// The diff, coloured for `terminal`, written to a file descriptor.
void print_patch(std::string_view diff, int fd, const Terminal& terminal);

}  // namespace lares::cli
