// The repository's index as libgit2 works on it.
#pragma once

#include <string>
#include <utility>

#include "tools/git/repo.h"

namespace lares::tools::git {

// Its own, or where libgit2 cannot read that one, a copy in memory, with all entries. `repo` uses
// it from then on.
GitResult<Index> index_of(git_repository* repo);

// The index as git has it now, to be changed and written. Git's lock on it is held until then, so
// that nothing that somebody stages meanwhile is written over. One that libgit2 cannot read is
// written as a whole one, which git makes a sparse or split one again where its settings say so.
class IndexToWrite {
 public:
  static GitResult<IndexToWrite> open(git_repository* repo);
  IndexToWrite(IndexToWrite&& other) noexcept;
  IndexToWrite& operator=(IndexToWrite&&) = delete;
  ~IndexToWrite();

  // The repository's own until it is written.
  git_index* get() const { return index_.get(); }
  GitResult<> write();

 private:
  IndexToWrite(git_repository* repo, std::string path) : repo_(repo), path_(std::move(path)) {}
  GitResult<> read();
  GitResult<> write_new() const;
  void release();

  git_repository* repo_;
  std::string path_, lock_;  // the lock's, while it is held
  std::string new_;          // what is renamed to `path_`
  Index index_;
};

// For looking up attributes alone: without the index that libgit2 cannot read, it would look into
// no file either.
void read_for_attributes(git_repository* repo);

}  // namespace lares::tools::git
