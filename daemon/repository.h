// Where a session's repository is.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "tools/workspace/workspace.h"

namespace lares::daemon {

struct RepositoryRoot {
  std::string root;  // absolute, symlinks resolved
  bool git = false;
};
// The top of the git worktree around `directory` (absolute), else the directory itself. The error
// is one line.
tl::expected<RepositoryRoot, std::string> repository_root(const std::string& directory);

// Why no session can begin about this root, in one line; "" where one can: it holds the user's
// whole home, or what Lares keeps itself.
std::string why_no_session(const std::string& root);

// What files about a repository are called by: 16 hex digits of its root.
std::string repository_key(const std::string& root);

}  // namespace lares::daemon
