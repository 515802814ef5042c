// Where a session's repository is.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "tools/workspace.h"

namespace lares::daemon {

struct RepositoryRoot {
  std::string root;  // absolute, symlinks resolved
  bool git = false;
};
// The top of the git worktree around `directory` (absolute), else the directory itself. The error
// is one line.
tl::expected<RepositoryRoot, std::string> repository_root(const std::string& directory);

// What files about a repository are called by: 16 hex digits of its root.
std::string repository_key(const std::string& root);

}  // namespace lares::daemon
