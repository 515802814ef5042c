// What there is in a worktree that programs outside obey: where it may have appeared, and which of
// it would run something.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sandbox/control_paths.h"
#include "sandbox/git_named.h"

namespace lares::sandbox {

struct ControlTree {
  struct Directory {
    dev_t device = 0;
    ino_t inode = 0;
    std::int64_t changed_ns = 0;  // 0: not read yet, or it changed as it was read
  };
  std::map<std::string, Directory> directories;  // relative; "" is the root
  // .git of any kind, and directories that git would take for a repository
  std::set<std::string> repositories;
  std::vector<GitNamed> named;  // relative; of the time when they were looked for
  bool beyond = false;          // there is more than the limits let be looked at
  bool unread = false;          // some of it is left to the next follow()
};

// Reads the directories below `root` (O_PATH) that are new or have another stamp.
void follow(int root, const ControlLimits& limits, ControlTree& tree);

struct ControlFound {
  std::string path, why;
  std::string id;            // another one when it has changed
  bool may_be_work = false;  // a file of the worktree as people write and review them
};
// `guarded`: path and inode of what no command could change. Forgets repositories that are gone.
std::vector<ControlFound> find_control(int root, const std::string& root_path,
                                       const ControlLimits& limits, ControlTree& tree,
                                       const std::map<std::string, ino_t>& guarded);
// What git's configurations name besides, of the worktree and the repositories in it.
std::vector<GitNamed> find_named(const std::string& root_path, const ControlTree& tree);
// What becomes read-only in a sandbox that begins now.
std::map<std::string, ino_t> find_guarded(int root, const ControlTree& tree);

// Where it is now; "" when it could not be moved.
std::string move_aside(int root, const std::string& path);

}  // namespace lares::sandbox
