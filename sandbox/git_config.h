// A git configuration that a command wrote, judged: whether git, run in that repository by the
// user, would run what it names. Read here and not by libgit2, as in tools/git: that follows
// includes, refuses a file for a line that it cannot read, and knows no other reading but its own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lares::sandbox {

struct ConfigVerdict {
  std::string runs;  // the first setting that names a program, or that includes a file which could:
                     // "core.hooksPath"; "" when none does
  std::vector<std::string> worktrees;  // core.worktree, as written
  std::vector<std::string> hooks;      // core.hooksPath
  std::vector<std::string> includes;   // include.path, includeIf.*.path: other configurations
};

// Reads what git reads, and more: a line that makes no sense to git stops git, and is nothing here.
ConfigVerdict judge_config(std::string_view text);

}  // namespace lares::sandbox
