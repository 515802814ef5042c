// Snapshots of the worktrees that agents work in, taken before every call that could change
// something. On the disk pool; those in one store take turns, in the order in which they were asked
// for, however long one takes. Called on the io executor.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <tl/expected.hpp>

#include "daemon/on_disk_pool.h"
#include "daemon/protocol/protocol.h"
#include "tools/snapshots/snapshots.h"

namespace lares::daemon {

inline constexpr std::chrono::hours kPruneEvery{24};
inline constexpr std::size_t kCheckpointedMax = 32;  // repositories whose snapshots are open

// As clients are told of it.
protocol::RewindChange change_told(const tools::SnapshotChange& change);
// What the store could not take of a snapshot just taken, for people; "" when it took all.
std::string unkept_told(const tools::Snapshot& taken);

class Checkpoints {
 public:
  template <class T>
  using Reply = asio::awaitable<tl::expected<T, std::string>>;

  struct Options {
    std::string directory;  // their stores lie below it; made when it is needed
    // Called on the pool. Where a worktree's snapshots lie, if not in a store of its own; and which
    // are kept whatever their age.
    std::function<std::string(const std::string& root)> store_of;
    std::function<bool(const tools::Snapshot&)> keep;
  };
  Checkpoints(asio::thread_pool& disk, Options options)
      : disk_(disk), options_(std::move(options)) {}

  // A cancelled one throws asio::error::operation_aborted: it is not taken where it waits for its
  // turn, and goes on by itself where it has begun.
  Reply<tools::Snapshot> take(std::string root, std::string label, bool anew = false);
  // Takes one in the background, where nothing was asked of the worktree yet: the first reads every
  // file, which the model need not wait for while it thinks. What goes wrong is said by the next.
  void look_ahead(const std::string& root, const std::string& label);
  Reply<std::vector<tools::SnapshotChange>> compare(std::string root, std::string from,
                                                    std::string to);
  // See found_changes.h. Cancelled as take() is.
  Reply<std::vector<protocol::FileChange>> find_changes(std::string root, std::string from,
                                                        std::string to);
  // "" where there is no such file
  Reply<std::string> text(std::string root, std::string id, std::string path);
  Reply<std::string> diff(std::string root, std::string from, std::string to, std::string path,
                          std::size_t bytes_max);
  // Of snapshots in one store: from `base` to `theirs`, into `ours`.
  struct Three {
    std::string base, ours, theirs;
  };
  Reply<tools::SnapshotMerge> merge(std::string root, Three three, std::string label);
  Reply<tools::Restored> restore(std::string root, std::string id, tools::Selection selection);
  // tools::Snapshots::go_back().
  Reply<tools::Restored> go_back(std::string root, std::vector<tools::RestoreStep> steps, bool dry);
  Reply<tools::Restored> prepare_to_go_back(std::string root,
                                            std::vector<tools::RestoreStep> steps);

 private:
  using Turns = std::shared_ptr<DiskStrand>;  // of those who work in one store
  struct Worktree {
    explicit Worktree(asio::thread_pool& disk) : finding(disk.get_executor()) {}
    DiskStrand finding;  // of its store
    std::string store_of;
    Turns turns;  // null: not found yet
    // In turn.
    std::optional<tools::Snapshots> snapshots;
    std::optional<std::chrono::steady_clock::time_point> pruned;
    bool asked = false;  // on the io executor
  };
  std::shared_ptr<Worktree> worktree(const std::string& root);
  Turns find_turns(Worktree& here, const std::string& root);
  tl::expected<void, std::string> open(Worktree& here, const std::string& root) const;
  tl::expected<tools::Snapshot, std::string> take_here(Worktree& here, const std::string& label,
                                                       bool anew) const;
  asio::awaitable<std::shared_ptr<Worktree>> found(std::string root);
  template <class Work>
  auto with_snapshots(std::shared_ptr<Worktree> here, std::string root, Work work) const;
  template <class T, class Work>
  Reply<T> on(std::string root, Work work);

  asio::thread_pool& disk_;
  const Options options_;
  std::map<std::string, std::shared_ptr<Worktree>> worktrees_;
  std::mutex mutex_;  // of what follows, which worktrees share
  std::map<std::string, std::weak_ptr<DiskStrand>> turns_;  // by the store's worktree
};

}  // namespace lares::daemon
