// Snapshots as git's trees: written from a listing, directories that did not change not again;
// compared by descending only where they differ.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "tools/snapshots/store.h"

namespace lares::tools {

// As in git's trees, with two of our own beside them for files that only their owner may read; git
// takes them for 100644 and 100755.
inline constexpr unsigned kModeFile = 0100644, kModeProgram = 0100755, kModePrivateFile = 0100600,
                          kModePrivateProgram = 0100700, kModeLink = 0120000,
                          kModeDirectory = 040000;

struct TreeEntry {
  std::string path;
  unsigned mode = 0;
  git_oid oid{};
};

class TreeWriter {
 public:
  // The tree that was written last, where nothing was changed() since.
  const git_oid* written() const;
  // To be said of each path that comes, goes, or is another one than in the last tree.
  void changed(const std::string& path);
  // `entries` in bytewise path order. Directories without a change are not written again.
  SnapshotResult<git_oid> write(SnapshotStore& store, const std::vector<TreeEntry>& entries);
  void forget() { known_.clear(); }

 private:
  struct Range {
    const TreeEntry *begin, *end;
  };
  SnapshotResult<git_oid> write_directory(SnapshotStore& store, Range range, std::size_t prefix);

  std::unordered_map<std::string, git_oid> known_;  // directories, "" or with a '/', as written
};

struct TreeDelta {
  std::string path;
  unsigned mode_before = 0, mode_after = 0;  // 0: there is none
  git_oid before{}, after{};
};

SnapshotResult<git::Tree> read_tree(const SnapshotStore& store, const git_oid& oid);
// In path order; null: of all paths.
SnapshotResult<std::vector<TreeDelta>> diff_trees(const SnapshotStore& store, const git_oid& before,
                                                  const git_oid& after,
                                                  const Selected* selected = nullptr);
// Whether files lie below `path` in a tree. What cannot be read may have some.
bool has_directory(const SnapshotStore& store, const git_oid& tree, const std::string& path);
// The file at `path` in a tree; mode 0: there is none.
SnapshotResult<TreeEntry> find_in_tree(const SnapshotStore& store, const git_oid& tree,
                                       const std::string& path);

SnapshotChange describe(const SnapshotStore& store, const TreeDelta& delta);

}  // namespace lares::tools
