// Git worktrees that sessions work in on their own, below the state directory: made as the user's
// worktree is now, looked at, brought back into it, removed. On the io executor; the disk's work is
// on the pool. One request at a time changes a worktree or its record; another meanwhile is busy.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <tl/expected.hpp>

#include "daemon/protocol/worktree_wire.h"
#include "daemon/session/checkpoints.h"
#include "daemon/session/worktree_records.h"

namespace lares::daemon {

// Below one state directory; each is a copy of a repository's files
inline constexpr std::size_t kWorktreesMax = 64;
inline constexpr std::size_t kSlugBytesMax = 40;    // of a branch's name
inline constexpr std::size_t kConflictsShown = 20;  // in one message

class Worktrees {
 public:
  template <class T>
  using Answer = asio::awaitable<tl::expected<T, protocol::Error>>;

  Worktrees(asio::thread_pool& disk, Checkpoints& checkpoints, const WorktreeRecords& records)
      : disk_(disk), checkpoints_(checkpoints), records_(records) {}

  // What fails leaves nothing behind. Through snapshots the files come as they lie on disk,
  // whatever filters and line ends git would put them through, and those of all worktrees of a
  // repository lie in the store once.
  Answer<WorktreeRecord> make(std::string worktree_of, std::string session_id, std::string title);
  Answer<WorktreeRecord> find(std::string root);
  // "": of every repository. Newest first
  asio::awaitable<std::vector<WorktreeRecord>> all(std::string worktree_of);

  // But for what its session says
  asio::awaitable<protocol::WorktreeInfo> look_at(WorktreeRecord record);
  Answer<protocol::WorktreeDiffResult> diff(WorktreeRecord record, std::int64_t bytes_max);
  Answer<protocol::WorktreeApplyResult> apply(WorktreeRecord record, bool dry_run);
  Answer<protocol::WorktreeApplyResult> take_back(WorktreeRecord record, bool dry_run);
  // Why it may not be, unless forced: work would be lost.
  Answer<protocol::WorktreeRemoveResult> remove(WorktreeRecord record, bool branch, bool force);
  // With its branch; of one that no session ever was in. Not where it holds what did not come with
  // it.
  Answer<protocol::WorktreeRemoveResult> remove_unused(WorktreeRecord record);

  // No session at a root that is held begins a turn (Sessions::Still).
  void hold(const std::string& root) { held_.insert(root); }
  void let_go(const std::string& root) { held_.erase(root); }
  bool is_held(const std::string& root) const { return held_.contains(root); }

 private:
  using Claim = std::shared_ptr<void>;
  Claim claim(const std::string& root);  // null: another request has it
  // What is known of it now, for whoever has claimed it
  Answer<WorktreeRecord> claimed(Claim claim, WorktreeRecord record, std::string what);
  asio::awaitable<bool> any_differs(std::string root, std::string then, std::string now,
                                    std::vector<std::string> paths);
  Answer<WorktreeRecord> with_what_is_applied(WorktreeRecord record, std::string ours,
                                              std::string what);
  Answer<tools::Snapshot> bring_along(WorktreeRecord record);
  struct Put {
    tl::expected<void, protocol::Error> done;
    bool nothing = false;  // where it failed: all is as it was
  };
  asio::awaitable<Put> put(WorktreeRecord record, tools::Snapshot ours, tools::SnapshotMerge merged,
                           std::string what);

  asio::thread_pool& disk_;
  Checkpoints& checkpoints_;
  const WorktreeRecords& records_;
  std::set<std::string> claimed_, held_;  // by root
};

// lares/<the title's letters and digits>-<the id's beginning>
std::string branch_name(const std::string& title, const std::string& session_id);

// With why, the first kConflictsShown of them
std::string listed(const std::vector<tools::PathReason>& some);

// Lines that a unified diff adds and removes.
void count_lines(std::string_view diff, std::int64_t& n_added, std::int64_t& n_deleted);

}  // namespace lares::daemon
