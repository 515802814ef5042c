#include "daemon/session/checkpoints.h"

#include <exception>
#include <filesystem>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "daemon/session/found_changes.h"
#include "daemon/session/until_cancelled.h"

namespace lares::daemon {
namespace {

std::string_view name_of(tools::SnapshotChange::Kind kind) {
  using Kind = tools::SnapshotChange::Kind;
  switch (kind) {
    case Kind::added:
      return "added";
    case Kind::changed:
      return "changed";
    case Kind::removed:
      return "removed";
    case Kind::mode:
      return "mode";
    case Kind::type:
      return "type";
  }
  return "";
}

}  // namespace

protocol::RewindChange change_told(const tools::SnapshotChange& change) {
  return {change.path, std::string(name_of(change.kind))};
}

std::string unkept_told(const tools::Snapshot& taken) {
  if (taken.n_unkept == 0) return "";
  const std::size_t n_more = taken.n_unkept - 1;
  const std::string more = n_more
                               ? fmt::format(" and {} more file{}", n_more, n_more == 1 ? "" : "s")
                               : "";
  return fmt::format(
      "no snapshot holds {}{}, so what this call changes there cannot be rewound: {}; snapshots "
      "are "
      "given up after {} days, those of sessions' worktrees with `lares worktrees remove`",
      taken.unkept.path, more, taken.unkept.why, tools::kSnapshotDaysKept);
}

std::shared_ptr<Checkpoints::Worktree> Checkpoints::worktree(const std::string& root) {
  if (worktrees_.size() > kCheckpointedMax) worktrees_.clear();  // they open again in no time
  auto& known = worktrees_[root];
  if (!known) known = std::make_shared<Worktree>(disk_);
  return known;
}

// On its strand of finding. Worktrees that share a store share its turns, also where one is known
// under two names: its lock is between processes, and gives up who waits for long.
Checkpoints::Turns Checkpoints::find_turns(Worktree& here, const std::string& root) {
  if (here.turns) return here.turns;
  here.store_of = options_.store_of ? options_.store_of(root) : "";
  const std::string& store = here.store_of.empty() ? root : here.store_of;
  std::error_code none;  // opening says so
  const auto real = std::filesystem::canonical(store, none);
  const std::lock_guard lock(mutex_);
  std::erase_if(turns_, [](const auto& known) { return known.second.expired(); });
  auto& known = turns_[none ? store : real.string()];
  here.turns = known.lock();
  if (!here.turns) known = here.turns = std::make_shared<DiskStrand>(disk_.get_executor());
  return here.turns;
}

tl::expected<void, std::string> Checkpoints::open(Worktree& here, const std::string& root) const {
  if (here.snapshots) return {};
  auto opened = tools::Snapshots::open(root, options_.directory, {.keep = options_.keep},
                                       here.store_of);
  if (!opened) return tl::unexpected(opened.error());
  here.snapshots.emplace(std::move(*opened));
  return {};
}

// Whose turns are known.
asio::awaitable<std::shared_ptr<Checkpoints::Worktree>> Checkpoints::found(std::string root) {
  const auto here = worktree(root);
  here->asked = true;
  const auto find = [this, here, root] { return find_turns(*here, root); };
  co_await on_disk_pool(here->finding, find);
  co_return here;
}

// `work` with the worktree's snapshots, opened.
template <class Work>
auto Checkpoints::with_snapshots(std::shared_ptr<Worktree> here, std::string root,
                                 Work work) const {
  return [this, here = std::move(here), root = std::move(root),
          work = std::move(work)]() -> std::invoke_result_t<Work, Worktree&> {
    if (auto opened = open(*here, root); !opened) return tl::unexpected(opened.error());
    return work(*here);
  };
}

// The same when it is its turn.
template <class T, class Work>
Checkpoints::Reply<T> Checkpoints::on(std::string root, Work work) {
  auto finding = found(root);
  const auto here = co_await std::move(finding);
  const auto job = with_snapshots(here, std::move(root), std::move(work));
  co_return co_await on_disk_pool(*here->turns, job);
}

tl::expected<tools::Snapshot, std::string> Checkpoints::take_here(Worktree& here,
                                                                  const std::string& label,
                                                                  bool anew) const {
  if (const auto now = std::chrono::steady_clock::now();
      !here.pruned || now - *here.pruned > kPruneEvery) {
    here.pruned = now;
    tools::Retention retention;
    retention.keep = options_.keep;
    (void)here.snapshots->prune(retention);  // what cannot be deleted now is tomorrow
  }
  return here.snapshots->take(label, anew);
}

Checkpoints::Reply<tools::Snapshot> Checkpoints::take(std::string root, std::string label,
                                                      bool anew) {
  const auto work = [this, label, anew](Worktree& here) { return take_here(here, label, anew); };
  auto finding = found(root);
  const auto here = co_await std::move(finding);
  const auto job = with_snapshots(here, std::move(root), work);
  co_return co_await on_disk_pool_until_cancelled(*here->turns, job);
}

void Checkpoints::look_ahead(const std::string& root, const std::string& label) {
  const auto here = worktree(root);
  if (std::exchange(here->asked, true)) return;
  // What goes wrong: the first call takes its own, and tells what it meets.
  const auto look = [this, here, root, label] {
    try {
      if (open(*here, root)) (void)take_here(*here, label, /*anew=*/false);
    } catch (const std::exception&) {
    }
  };
  asio::post(here->finding, [this, here, root, look] {
    try {
      asio::post(*find_turns(*here, root), look);
    } catch (const std::exception&) {
    }
  });
}

Checkpoints::Reply<std::vector<tools::SnapshotChange>> Checkpoints::compare(std::string root,
                                                                            std::string from,
                                                                            std::string to) {
  const auto work = [from, to](Worktree& here) { return here.snapshots->compare(from, to); };
  auto comparing = on<std::vector<tools::SnapshotChange>>(std::move(root), work);
  co_return co_await std::move(comparing);
}

Checkpoints::Reply<std::vector<protocol::FileChange>> Checkpoints::find_changes(std::string root,
                                                                                std::string from,
                                                                                std::string to) {
  const auto work = [from, to](Worktree& here) {
    return daemon::find_changes(*here.snapshots, from, to);
  };
  auto finding = found(root);
  const auto here = co_await std::move(finding);
  const auto job = with_snapshots(here, std::move(root), work);
  co_return co_await on_disk_pool_until_cancelled(*here->turns, job);
}

Checkpoints::Reply<std::string> Checkpoints::text(std::string root, std::string id,
                                                  std::string path) {
  const auto work = [id, path](Worktree& here) { return here.snapshots->text(id, path); };
  auto reading = on<std::string>(std::move(root), work);
  co_return co_await std::move(reading);
}

Checkpoints::Reply<std::string> Checkpoints::diff(std::string root, std::string from,
                                                  std::string to, std::string path,
                                                  std::size_t bytes_max) {
  const auto work = [from, to, path, bytes_max](Worktree& here) {
    return here.snapshots->diff(from, to, path, bytes_max);
  };
  auto reading = on<std::string>(std::move(root), work);
  co_return co_await std::move(reading);
}

Checkpoints::Reply<tools::SnapshotMerge> Checkpoints::merge(std::string root, Three three,
                                                            std::string label) {
  const auto work = [three, label](Worktree& here) {
    return here.snapshots->merge(three.base, three.ours, three.theirs, label);
  };
  auto merging = on<tools::SnapshotMerge>(std::move(root), work);
  co_return co_await std::move(merging);
}

Checkpoints::Reply<tools::Restored> Checkpoints::restore(std::string root, std::string id,
                                                         tools::Selection selection) {
  const auto work = [id, selection](Worktree& here) {
    return here.snapshots->restore(id, selection);
  };
  auto restoring = on<tools::Restored>(std::move(root), work);
  co_return co_await std::move(restoring);
}

Checkpoints::Reply<tools::Restored> Checkpoints::go_back(std::string root,
                                                         std::vector<tools::RestoreStep> steps,
                                                         bool dry) {
  const auto work = [steps, dry](Worktree& here) { return here.snapshots->go_back(steps, dry); };
  auto going = on<tools::Restored>(std::move(root), work);
  co_return co_await std::move(going);
}

Checkpoints::Reply<tools::Restored> Checkpoints::prepare_to_go_back(
    std::string root, std::vector<tools::RestoreStep> steps) {
  const auto work = [steps](Worktree& here) { return here.snapshots->prepare_to_go_back(steps); };
  auto preparing = on<tools::Restored>(std::move(root), work);
  co_return co_await std::move(preparing);
}

}  // namespace lares::daemon
