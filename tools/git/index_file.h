// git's index as it lies on disk, gitformat-index(5), version 2 to 4: also one that libgit2 1.5 does
// not read, a sparse one, a split one, and one with SHA-256 names. Nothing is written here.
#pragma once

#include <git2.h>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/git/repo.h"

namespace lares::tools::git {

inline constexpr std::size_t kIndexBytesMax = 1u << 30;  // some ten million files

struct IndexEntry {
  std::string path;  // of a directory that a sparse index does not enter: with a '/' at its end
  git_index_entry about{};  // without its path; the id is zero where names are SHA-256

  bool is_directory() const { return about.mode == GIT_FILEMODE_TREE; }
  bool is_marked_out() const { return (about.flags_extended & GIT_INDEX_ENTRY_SKIP_WORKTREE) != 0; }
};

// Of a directory that a sparse index does not enter, an entry of its tree.
IndexEntry entry_below(const IndexEntry& directory, const git_tree_entry* entry);

// By path, then by stage; none where there is no index yet. The reason names the file.
GitResult<std::vector<IndexEntry>> read_index_file(git_repository* repo);

// The same of an index's bytes, with names of objects of `name_bytes`. Where it is split, `shared`
// gives the index that it goes on from, by its name in hex digits.
using SharedIndex = std::function<GitResult<std::string>(const std::string& name)>;
GitResult<std::vector<IndexEntry>> parse_index(std::string_view bytes, std::size_t name_bytes,
                                               const SharedIndex& shared);

}  // namespace lares::tools::git
