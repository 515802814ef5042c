// Makes files of the worktree as a snapshot has them: each whole or not at all, and only while it
// is as in the snapshot that was taken just before.
#pragma once

#include <string>
#include <vector>

#include "tools/snapshots/removals.h"
#include "tools/snapshots/scan.h"
#include "tools/snapshots/store.h"
#include "tools/snapshots/tree.h"

namespace lares::tools {

using RestorePlan = std::vector<RestoreTarget>;  // no path twice

// Fills `done` and `not_done`.
void restore_files(const std::string& root, const SnapshotStore& store,
                   const SnapshotScanner& present, const RestorePlan& plan, Restored& out);
// With what it would do, as far as that can be told: no file is touched.
void foresee_restoring(const SnapshotStore& store, const SnapshotScanner& present,
                       const RestorePlan& plan, Restored& out);

}  // namespace lares::tools
