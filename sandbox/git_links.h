// What leads from a git directory to another repository's files: links among its own, and the
// object stores that it borrows from. Whoever opens it as the user would read and write there.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace lares::sandbox {

inline constexpr std::size_t kGitEntriesMax = 100'000;  // looked at in one git directory

struct GitAstray {
  std::string path, why;
};
struct GitLinks {
  std::vector<GitAstray> astray;     // out of the worktree, or into what commands cannot change
  std::vector<std::string> modules;  // git directories of submodules, which none may name yet
  bool beyond = false;               // there is more than kGitEntriesMax
};

// Of the git directory `dir`, relative to `root` as all paths here. Objects themselves are not
// looked at, for whoever links one has to know its name. `is_kept`: commands cannot change it.
GitLinks find_git_links(int root, const std::string& root_path, const std::string& dir,
                        const std::function<bool(const std::string&)>& is_kept);

}  // namespace lares::sandbox
