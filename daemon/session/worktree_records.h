// What is known of the worktrees made for sessions: a file beside each, DIRECTORY/<repository
// key>/<session id>.json. Blocks on the disk; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "tools/snapshots/snapshots.h"

namespace lares::daemon {

inline constexpr std::size_t kAppliedMax = 64;  // times that are remembered, of one worktree

struct WorktreeRecord {
  std::string session_id, root;
  std::string worktree_of;  // the root of the repository's worktree that it was made from
  // In whose store its snapshots lie: that one, or the one that was made from
  std::string store_of;
  std::string branch, commit;
  std::string began;  // the snapshot that its files began as, uncommitted changes included
  std::int64_t began_ms = 0;
  struct Applied {
    std::string before, after;  // snapshots of `worktree_of`
    std::string theirs;         // of the worktree, that was applied
    std::vector<std::string> paths;
    bool putting = false;  // it is being put there: a daemon that dies leaves a part of it
  };
  Applied applied;               // before empty: it is not, or it was taken back
  std::vector<Applied> earlier;  // that are applied, too; the oldest first

  void apply(Applied now);
  void take_back();                                           // the last one
  std::string name() const { return "lares-" + session_id; }  // git's for it
};

class WorktreeRecords {
 public:
  explicit WorktreeRecords(std::string directory) : directory_(std::move(directory)) {}

  // Where such a worktree lies
  std::string root_of(const std::string& worktree_of, const std::string& session_id) const;
  // By its root. Nothing: it is no worktree of a session's, or what is known of it cannot be read.
  std::optional<WorktreeRecord> find(const std::string& root) const;
  std::vector<WorktreeRecord> all() const;  // newest first
  tl::expected<void, std::string> write(const WorktreeRecord& record) const;
  void remove(const WorktreeRecord& record) const;

  // For Checkpoints::Options.
  std::string store_of(const std::string& root) const;
  // A worktree that is still there began with it, or was applied as it.
  bool needs(const tools::Snapshot& snapshot) const;

 private:
  const std::string directory_;
};

// Of the snapshots that a worktree begins with, and is applied as.
std::string began_label(const std::string& root);
std::string applied_label(const std::string& root);

}  // namespace lares::daemon
