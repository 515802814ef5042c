// Snapshots of the worktrees that agents work in, taken before every call that could change something. On the disk pool, one at a time.
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
  Checkpoints(asio::thread_pool& disk, std::string directory) : strand_(disk.get_executor()), directory_(std::move(directory)) {}

  Reply<tools::Snapshot> take(std::string root, std::string label);
  Reply<std::vector<tools::SnapshotChange>> compare(std::string root, std::string from, std::string to);
  Reply<tools::Restored> restore(std::string root, std::string id, tools::Selection selection);

 private:
  struct Open {
    tools::Snapshots snapshots;
    std::optional<std::chrono::steady_clock::time_point> pruned;
  };
  tl::expected<Open*, std::string> of(const std::string& root);

  DiskStrand strand_;
  const std::string directory_;
  std::map<std::string, std::unique_ptr<Open>> open_;  // on the strand
};

}  // namespace lares::daemon
