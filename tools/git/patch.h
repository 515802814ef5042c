// Diffs as the text of a patch, which is git's own. Lines of secrets are withheld.
#pragma once

#include <string>
#include <vector>

#include "tools/git/filtered.h"
#include "tools/git/repo.h"

namespace lares::tools::git {

struct Strings {  // a git_strarray of at most one path
  explicit Strings(const std::string& path) : text(path), pointer(text.data()) {}
  void into(git_strarray& array) {
    if (!text.empty()) array = {&pointer, 1};
  }
  std::string text;
  char* pointer;
};

// Paths are names, not patterns; beyond a bound of bytes a file counts as binary.
git_diff_options diff_options();

// At most kOutputBytesMax, and then how many lines are left out. `filters`: of the repository,
// where a side may be files in its worktree.
GitResult<std::string> patch_text(const std::vector<Diff>& diffs, const Filters* filters = nullptr);

}  // namespace lares::tools::git
