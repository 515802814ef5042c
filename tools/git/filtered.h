// Files that git stores in another form than they lie in: through a program that the configuration
// names for their attribute `filter` (Git LFS stores a pointer), or in another encoding. No such
// program is run here, and libgit2 converts no encoding, so to it such a file is another than is
// stored as soon as its stamp in the index is old.
#pragma once

#include <string>

#include "tools/git/repo.h"

namespace lares::tools::git {

class Filters {
 public:
  explicit Filters(git_repository* repo);

  enum class Way { in, out, either };
  // The name of the filter that the file at `path` goes through into the repository (clean) or out
  // of it (smudge); "" where there is none, or no program for it. `flags`: GIT_ATTR_CHECK_*.
  std::string filter_of(const char* path, Way way, unsigned flags) const;

  // Whether the lines of the file at `path` are not those that are stored.
  bool only_git_compares(const char* path) const;

  enum class Stored {
    as_it_lies,  // what libgit2 says of it holds
    same,        // it lies there as it is stored, though libgit2 takes it for changed
    other,       // it is changed, but only git can show its lines
    unknown,     // only git can say whether it is
  };
  // Of a file that libgit2 takes for changed; `blob` is what is stored. Git LFS's pointers say
  // which content they stand for, so that of a file of its own this tells.
  Stored stored(const char* path, const git_oid& blob) const;

 private:
  git_repository* const repo_;
  Owned<git_config, git_config_free> config_;
};

}  // namespace lares::tools::git
