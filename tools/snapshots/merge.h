// Three snapshots' trees merged. libgit2's own merge of trees takes only git's modes, and ours keep
// what only the owner may read.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "tools/snapshots/store.h"

namespace lares::tools {

// Larger ones, changed on both sides, conflict
inline constexpr std::size_t kMergedFileBytesMax = 4 << 20;

struct ThreeSnapshots {
  const StoredSnapshot &base, &ours, &theirs;
};
struct MergedTree {
  git_oid tree{};                           // where nothing conflicts
  std::vector<PathReason> conflicts, kept;  // as in SnapshotMerge
};
// Under the store's lock; what is new is in the store, durable once it is synced.
SnapshotResult<MergedTree> merge_trees(SnapshotStore& store, const ThreeSnapshots& three);

}  // namespace lares::tools
