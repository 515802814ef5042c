#include "daemon/checkpoints.h"

#include <utility>

namespace lares::daemon {

tl::expected<Checkpoints::Open*, std::string> Checkpoints::of(const std::string& root) {
  if (const auto at = open_.find(root); at != open_.end()) return at->second.get();
  auto opened = tools::Snapshots::open(root, directory_);
  if (!opened) return tl::unexpected(opened.error());
  if (open_.size() == kCheckpointedMax) open_.clear();  // they open again in no time
  return (open_[root] = std::unique_ptr<Open>(new Open{std::move(*opened)})).get();
}

Checkpoints::Reply<tools::Snapshot> Checkpoints::take(std::string root, std::string label) {
  const auto work = [&]() -> tl::expected<tools::Snapshot, std::string> {
    const auto here = of(root);
    if (!here) return tl::unexpected(here.error());
    if (const auto now = std::chrono::steady_clock::now(); !(*here)->pruned || now - *(*here)->pruned > kPruneEvery) {
      (*here)->pruned = now;
      (void)(*here)->snapshots.prune({});  // what cannot be deleted now is tomorrow
    }
    return (*here)->snapshots.take(label);
  };
  co_return co_await on_disk_pool(strand_, work);
}

Checkpoints::Reply<std::vector<tools::SnapshotChange>> Checkpoints::compare(std::string root, std::string from, std::string to) {
  const auto work = [&]() -> tl::expected<std::vector<tools::SnapshotChange>, std::string> {
    const auto here = of(root);
    if (!here) return tl::unexpected(here.error());
    return (*here)->snapshots.compare(from, to);
  };
  co_return co_await on_disk_pool(strand_, work);
}

Checkpoints::Reply<tools::Restored> Checkpoints::restore(std::string root, std::string id, tools::Selection selection) {
  const auto work = [&]() -> tl::expected<tools::Restored, std::string> {
    const auto here = of(root);
    if (!here) return tl::unexpected(here.error());
    return (*here)->snapshots.restore(id, selection);
  };
  co_return co_await on_disk_pool(strand_, work);
}

}  // namespace lares::daemon
