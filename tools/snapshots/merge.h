// Three snapshots' trees merged. libgit2's own merge of trees takes only git's modes, and ours keep
// what only the owner may read.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "tools/snapshots/store.h"

namespace lares::tools {

inline constexpr std::size_t kMergedFileBytesMax = 4 << 20;  // larger ones, changed on both sides,
                                                             // conflict

// Why two sides conflict where one has no file any more.
inline constexpr std::string_view kRemovedHere = "removed here, changed by the session";

struct ThreeTrees {
  git_oid base{}, ours{}, theirs{};
};
struct MergedTree {
  git_oid tree{};  // where nothing conflicts
  std::vector<PathReason> conflicts;
};
// Under the store's lock; what is new is in the store, durable once it is synced.
SnapshotResult<MergedTree> merge_trees(SnapshotStore& store, const ThreeTrees& trees);

}  // namespace lares::tools
