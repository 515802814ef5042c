// The repository's index as libgit2 works on it.
#pragma once

#include <string>
#include <utility>

#include "tools/git/repo.h"

namespace lares::tools::git {

// Its own, or where libgit2 cannot read that one, a copy in memory, with all entries. `repo` uses
// it from then on.
GitResult<Index> index_of(git_repository* repo);

// The index as git has it now, to be changed and written. One that libgit2 cannot read is written
// as a whole one, which git makes a sparse or split one again where its settings say so; until then
// git's lock on it is held.
class IndexToWrite {
 public:
  static GitResult<IndexToWrite> open(git_repository* repo);
  IndexToWrite(IndexToWrite&& other) noexcept;
  IndexToWrite& operator=(IndexToWrite&&) = delete;
  ~IndexToWrite();

  git_index* get() const { return index_.get(); }
  bool is_copy() const { return !git_index_path(index_.get()); }
  GitResult<> write();

 private:
  IndexToWrite(std::string path, Index index) : path_(std::move(path)), index_(std::move(index)) {}
  GitResult<> write_copy() const;

  std::string path_, lock_;  // the lock's, while it is held
  Index index_;
};

// For looking up attributes alone: without the index that libgit2 cannot read, it would look into
// no file either.
void read_for_attributes(git_repository* repo);

}  // namespace lares::tools::git
