// Sessions in a git worktree of their own.
#pragma once

#include <string>

#include "daemon/client/error.h"
#include "daemon/client/link.h"
#include "daemon/protocol/worktree_wire.h"

namespace lares::cli {

// A session as `request` says, in a worktree made for it. It is titled by `prompt`, and so is its
// branch.
Result<protocol::WorktreeCreated> create_in_worktree(Link& link, protocol::SessionCreate request,
                                                     const std::string& prompt);

// Where it works and how that comes back, in one line.
std::string worktree_told(const protocol::WorktreeCreated& made);

// Which directories of well-known names, such as node_modules, the repository has and that worktree
// has not, in one line; empty: none. Reads directories.
std::string worktree_lacks(const protocol::WorktreeCreated& made);

}  // namespace lares::cli
