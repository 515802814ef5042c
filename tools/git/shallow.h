// Where the history of a shallow clone (`git clone --depth`) ends: libgit2 1.5 does not know that,
// and looks for the parents that are not there.
#pragma once

#include <utility>
#include <vector>

#include "tools/git/repo.h"

namespace lares::tools::git {

std::vector<git_oid> shallow_commits(git_repository* repo);  // none where it is no such clone

// As a git_revwalk without sorting, from one commit: newest first, by the time they were made.
class ShallowWalk {
 public:
  ShallowWalk(git_repository* repo, std::vector<git_oid> ends)
      : repo_(repo), ends_(std::move(ends)) {}
  int push(const git_oid& id);  // libgit2's result
  int next(git_oid* out);       // GIT_ITEROVER behind the last

 private:
  struct Waiting {
    git_time_t time;
    git_oid id;
  };
  git_repository* const repo_;
  const std::vector<git_oid> ends_;
  std::vector<Waiting> waiting_;  // the next one last
  std::vector<git_oid> seen_;     // in order
};

}  // namespace lares::tools::git
