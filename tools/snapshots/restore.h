// Makes files of the worktree as a snapshot has them: each whole or not at all, and only while it
// is as in the snapshot that was taken just before.
#pragma once

#include <string>
#include <vector>

#include "tools/snapshots/scan.h"
#include "tools/snapshots/store.h"
#include "tools/snapshots/tree.h"

namespace lares::tools {

struct RestorePlan {
  std::vector<TreeDelta> deltas;  // from the files as they are to the snapshot
  std::vector<std::string> stay;  // outside the sparse checkout of then, and changed since
  const Snapshot* target = nullptr;
};

// Fills `done` and `not_done`.
void restore_files(const std::string& root, const SnapshotStore& store,
                   const SnapshotScanner& present, const RestorePlan& plan, Restored& out);

}  // namespace lares::tools
