// The repository's index as libgit2 works on it.
#pragma once

#include <string>

#include "tools/git/repo.h"

namespace lares::tools::git {

// Its own, or where libgit2 cannot read that one, a copy in memory, with all entries. `repo` uses
// it from then on.
GitResult<Index> index_of(git_repository* repo);
// Why an index is a copy, with what to do; "" where it is not, and can be written.
std::string why_copied(git_repository* repo, git_index* index);

// For looking up attributes alone: without the index that libgit2 cannot read, it would look into
// no file either.
void read_for_attributes(git_repository* repo);

}  // namespace lares::tools::git
