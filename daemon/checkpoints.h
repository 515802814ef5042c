// Snapshots of the worktrees that agents work in, taken before every call that could change something. On the disk pool, in turn for each
// worktree; called on the io executor.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <tl/expected.hpp>

#include "daemon/on_disk_pool.h"
#include "tools/snapshots.h"

namespace lares::daemon {

inline constexpr std::chrono::hours kPruneEvery{24};
inline constexpr std::size_t kCheckpointedMax = 32;  // repositories whose snapshots are open

class Checkpoints {
 public:
  template <class T>
  using Reply = asio::awaitable<tl::expected<T, std::string>>;

  // Their store lies below `directory`, which is made when it is needed.
  Checkpoints(asio::thread_pool& disk, std::string directory) : disk_(disk), directory_(std::move(directory)) {}

  Reply<tools::Snapshot> take(std::string root, std::string label);
  Reply<std::vector<tools::SnapshotChange>> compare(std::string root, std::string from, std::string to);
  Reply<std::string> text(std::string root, std::string id, std::string path);  // "" where there is no such file
  Reply<tools::Restored> restore(std::string root, std::string id, tools::Selection selection);

 private:
  struct Worktree {
    explicit Worktree(asio::thread_pool& disk) : strand(disk.get_executor()) {}
    DiskStrand strand;  // of what follows
    std::optional<tools::Snapshots> snapshots;
    std::optional<std::chrono::steady_clock::time_point> pruned;
  };
  template <class T, class Work>
  Reply<T> on(std::string root, Work work);

  asio::thread_pool& disk_;
  const std::string directory_;
  std::map<std::string, std::shared_ptr<Worktree>> worktrees_;
};

}  // namespace lares::daemon
