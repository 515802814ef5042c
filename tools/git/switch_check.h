// What is looked at before a switch writes its first file: libgit2 by itself deletes what git
// keeps, and ends half-way where git does not begin.
#pragma once

#include <cstddef>

#include "tools/git/repo.h"

namespace lares::tools::git {

// How many files differ between the trees, where the way from one to the other may be gone at all.
GitResult<std::size_t> check_way(const Opened& opened, const Request& request, git_tree* from,
                                 git_tree* to);

// That nothing staged goes: wherever the trees differ the index is as one of them has it.
GitResult<> check_staged(git_repository* repo, git_index* index, git_tree* from, git_tree* to);

}  // namespace lares::tools::git
