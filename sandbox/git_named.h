// What git's configuration names in a worktree and git then obeys: directories of hooks
// (core.hooksPath) and further configurations (include.path), as teams keep them with their code.
#pragma once

#include <string>
#include <vector>

namespace lares::sandbox {

struct GitNamed {
  std::string path;    // below the root, absolute, as git goes there; perhaps not there
  bool hooks = false;  // a directory of them; else a configuration
};

// For the repository that is checked out in `dir`, the root or below it: by its own configuration,
// the user's and the system's, and what they include, whatever the condition. What lies in a .git
// is left out, as is the root itself. Blocks on the disk: some 20 us a file.
std::vector<GitNamed> named_by_git(const std::string& root, const std::string& dir);

}  // namespace lares::sandbox
