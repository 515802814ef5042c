// The files of a new worktree, where settings of the one that it is made from say which and how: a
// sparse checkout, settings of that worktree alone. As `git worktree add` does it; libgit2 1.5 has
// neither. All of a large repository may not fit, and of a partial clone is not there.
#pragma once

#include "tools/git/repo.h"

namespace lares::tools::git {

bool has_settings_of_its_own(git_repository* worktree);
// `made` is the new worktree, without files and index, at `from`'s HEAD. It gets its settings, and
// the files of HEAD but for those that git keeps out of `from` now.
GitResult<> fill_worktree(git_repository* from, git_repository* made);

}  // namespace lares::tools::git
