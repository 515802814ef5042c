// Linked git worktrees made for sessions: `git worktree add`, `list` and `remove`, and what would
// be lost. Blocks on the disk. Hooks and external filters are not run. Errors are one line.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace lares::tools {

struct WorktreePlan {
  std::string repository;  // the user's worktree
  std::string path;        // where the new one is to be; must not be there
  std::string name;        // what git calls it
  std::string branch;      // made at HEAD; must not be there
};
// Gives the commit that it begins with. What fails leaves nothing behind.
tl::expected<std::string, std::string> add_worktree(const WorktreePlan& plan);

inline constexpr std::size_t kUncommittedNamedMax = 1000;

struct WorktreeLook {
  std::string branch, commit;  // "" when detached; the commit it is at
  bool uncommitted = false;    // or untracked, not ignored
  // The first of those, a directory with a '/'. Among them, as git has it, every submodule that was
  // initialised: its commits go with the worktree.
  std::vector<std::string> paths;
};
tl::expected<WorktreeLook, std::string> look_at_worktree(const std::string& path);

// The directory and what git knows of it; one that is gone is only forgotten, and so it is where
// the repository is gone.
tl::expected<void, std::string> remove_worktree(const std::string& repository,
                                                const std::string& name, const std::string& path);

// Whether commits would be lost with the branch: those that neither `since` nor the repository's
// HEAD has; `since` may be empty. False: there is no such branch.
tl::expected<bool, std::string> branch_has_commits(const std::string& repository,
                                                   const std::string& branch,
                                                   const std::string& since);
tl::expected<void, std::string> remove_branch(const std::string& repository,
                                              const std::string& branch);

}  // namespace lares::tools
