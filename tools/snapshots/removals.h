// Which files going back to a snapshot removes: those that the snapshot does not have, unless they
// may have been there all the same, where it could not see them.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <unordered_set>

#include "tools/snapshots/left_out.h"
#include "tools/snapshots/store.h"
#include "tools/snapshots/tree.h"
#include "tools/workspace/plain_tree.h"

namespace lares::tools {

// A snapshot that files go back to, and which they are.
struct RestoreTarget {
  const StoredSnapshot* snapshot = nullptr;
  std::vector<TreeDelta> deltas;  // from the files as they are to the snapshot
  std::vector<std::string> stay;  // outside the sparse checkout of then, and changed since
  // When the files last were as in it, for a moment of this very worktree: what is older than that
  // was there then. 0: it is of another worktree, or of none.
  std::int64_t moment_ns = 0;
};

inline constexpr const char* kDirectoryInPlace =
    "a directory with files that no snapshot holds is in its place; move them away";

class Removals {
 public:
  Removals(const SnapshotStore& store, const PlainTree& files, const RestoreTarget& target);

  // Why the file stays, in the user's words; "": it goes.
  std::string why_not(const TreeDelta& delta);
  // Whether the directory, which is empty by now, was there then, or may have been.
  bool had_directory(const std::string& path) const;

 private:
  bool is_gone(const PathReason& left_out) const;
  bool is_older(const std::string& path) const;
  bool holds_content(const git_oid& oid);

  const SnapshotStore& store_;
  const PlainTree& files_;
  const RestoreTarget& target_;
  const LeftOut left_out_;
  const std::set<std::string> stay_;
  std::string gone_;  // something that was left out then and does not lie there now
  std::optional<std::unordered_set<git_oid, OidHash, OidEqual>> contents_;  // of the snapshot
};

// Where something can be written once some files are gone.
class Room {
 public:
  explicit Room(const PlainTree& files) : files_(files) {}

  void add(const std::string& gone) { gone_.insert(gone); }
  // Why a file cannot come to `path`, in the user's words; "": nothing that stays is in its way.
  std::string why_none(const std::string& path) const;

 private:
  bool goes(const std::string& directory) const;

  const PlainTree& files_;
  std::unordered_set<std::string> gone_;
};

}  // namespace lares::tools
