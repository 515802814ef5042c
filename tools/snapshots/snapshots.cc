#include "tools/snapshots/snapshots.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <unordered_set>
#include <utility>

#include "tools/file_patch.h"
#include "tools/snapshots/kept_out.h"
#include "tools/snapshots/merge.h"
#include "tools/snapshots/restore.h"
#include "tools/snapshots/scan.h"
#include "tools/snapshots/store.h"
#include "tools/snapshots/tree.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

// How long no room is looked for where none was found: every look reads all files anew.
constexpr std::int64_t kRoomEveryNs = 3600ll * 1'000'000'000;
constexpr std::size_t kWorktreeNameBytes = 16;

bool same_notes(const Snapshot& a, const Snapshot& b) {
  const auto same = [](const PathReason& x, const PathReason& y) {
    return x.path == y.path && x.why == y.why;
  };
  return a.n_left_out == b.n_left_out && a.incomplete == b.incomplete && a.kept_out == b.kept_out &&
         std::ranges::equal(a.left_out, b.left_out, same);
}

std::string as_label(const std::string& label) {
  std::string out = to_utf8(label);
  out.resize(utf8_floor(out, std::min(out.size(), kSnapshotLabelBytesMax)));
  return out;
}

void turn_round(std::vector<TreeDelta>& deltas) {
  for (TreeDelta& delta : deltas) {
    std::swap(delta.mode_before, delta.mode_after);
    std::swap(delta.before, delta.after);
  }
}

std::string before_label(const Snapshot& target) {
  return fmt::format("before going back to {}", target.label);
}

}  // namespace

Selected::Selected(const Selection& selection) : all_(selection.all) {
  for (std::string_view path : selection.paths) {
    while (path.ends_with('/')) path.remove_suffix(1);
    if (!path.empty()) paths_.emplace(path);
  }
}

bool Selected::holds(std::string_view path) const {
  if (all_ || paths_.contains(path)) return true;
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1))
    if (paths_.contains(path.substr(0, slash))) return true;
  return false;
}

bool Selected::reaches(std::string_view directory) const {
  if (holds(directory)) return true;
  const std::string below = std::string(directory) + "/";
  const auto at = paths_.lower_bound(below);
  return at != paths_.end() && at->starts_with(below);
}

struct Snapshots::State {
  std::string root, worktree;  // its name in snapshots
  SnapshotStore store;
  SnapshotLimits limits;
  SnapshotScanner scanner;
  std::int64_t no_room_until_ns = 0;

  using Ids = std::vector<std::string_view>;

  // What lies on disk; where the store is full, once more after the oldest snapshots made room,
  // but those that are `in_use`.
  SnapshotResult<SnapshotScan> scan(const Fd& lock, const Ids& in_use = Ids()) {
    auto out = scanner.scan(store);
    if (!out || out->about.n_unkept == 0 || now_ns() < no_room_until_ns) return out;
    no_room_until_ns = now_ns() + kRoomEveryNs;
    const auto stays = [&](const Snapshot& snapshot) {
      return std::ranges::find(in_use, snapshot.id) != in_use.end() ||
             (limits.keep && limits.keep(snapshot));
    };
    const Retention retention{.store_bytes_max = snapshot_bytes_kept(limits.store_bytes_max),
                              .keep = stays};
    const auto pruned = prune_store(store, lock, retention, now_ns() / 1'000'000);
    if (!pruned) return tl::unexpected(pruned.error());
    out = scanner.scan(store);
    if (out && out->about.n_unkept == 0) no_room_until_ns = 0;
    return out;
  }

  // A scan that is the newest snapshot's again makes no new one.
  SnapshotResult<Snapshot> keep(const SnapshotScan& scan, const std::string& label,
                                bool anew = false) {
    auto newest = store.newest();
    if (!newest) return tl::unexpected(newest.error());
    if (!newest->snapshot.id.empty() && git_oid_equal(&newest->tree, &scan.tree) &&
        same_notes(newest->snapshot, scan.about) && newest->directories == scan.directories &&
        !(anew && newest->snapshot.label != as_label(label))) {
      if (newest->snapshot.worktree == worktree) store.saw(*newest);
      newest->snapshot.n_unkept = scan.about.n_unkept;
      newest->snapshot.unkept = scan.about.unkept;
      return std::move(newest->snapshot);
    }
    Snapshot made = scan.about;
    made.worktree = worktree;
    made.label = as_label(label);
    made.time_ms = now_ns() / 1'000'000;
    return store.add(scan.tree, std::move(made), scan.directories);
  }

  // When this worktree was last as in a snapshot. One that another worktree took first is shared by
  // those that are alike, and says only when it was made, which is not later.
  std::int64_t moment_of(const StoredSnapshot& stored) const {
    return stored.snapshot.worktree == worktree ? store.seen_ns(stored)
                                                : stored.snapshot.time_ms * 1'000'000;
  }

  SnapshotResult<git_oid> tree_of(const Fd& lock, std::string_view id, const Ids& in_use = Ids()) {
    if (id != kWorktree) {
      const auto stored = store.find(id);
      return stored ? SnapshotResult<git_oid>(stored->tree) : tl::unexpected(stored.error());
    }
    const auto now = scan(lock, in_use);
    if (!now) return tl::unexpected(now.error());
    if (auto synced = store.sync(); !synced)
      return tl::unexpected(synced.error());  // others take what is there for durable
    return now->tree;
  }
  SnapshotResult<std::pair<git_oid, git_oid>> trees_of(const Fd& lock, std::string_view from,
                                                       std::string_view to) {
    const auto before = tree_of(lock, from, {to});
    if (!before) return tl::unexpected(before.error());
    const auto after = tree_of(lock, to, {from});
    if (!after) return tl::unexpected(after.error());
    return std::pair(*before, *after);
  }
  SnapshotResult<std::string> text_of(const git_oid& tree, const std::string& path) {
    const auto file = find_in_tree(store, tree, path);
    if (!file) return tl::unexpected(file.error());
    return file->mode ? store.blob(file->oid) : SnapshotResult<std::string>("");
  }

  // Of one type, or none: mode 0. "" where one is binary.
  SnapshotResult<std::string> patch(const std::string& path, const TreeEntry& before,
                                    const TreeEntry& after, std::size_t bytes_max) {
    const auto mode = [](const TreeEntry& file) {
      return file.mode ? std::optional(file.mode) : std::nullopt;
    };
    const std::string head = file_patch(path, "", mode(before), mode(after));
    if (before.mode && after.mode && git_oid_equal(&before.oid, &after.oid)) return head;
    const auto was = before.mode ? store.blob(before.oid) : SnapshotResult<std::string>("");
    const auto is = after.mode ? store.blob(after.oid) : SnapshotResult<std::string>("");
    if (!was) return was;
    if (!is) return is;
    if (is_binary(*was) || is_binary(*is)) return "";
    auto diff = unified_diff(path, *was, *is, bytes_max - std::min(bytes_max, head.size()));
    return file_patch(path, std::move(diff), mode(before), mode(after));
  }

  // The deltas of one target: what is not among the files now may lie there all the same, ignored
  // since then, and is `missing`.
  SnapshotResult<> find_deltas(const SnapshotScan& now, const Selected& selected,
                               std::unordered_set<std::string>& planned, RestoreTarget& target,
                               std::vector<std::string>& missing) {
    auto deltas = diff_trees(store, now.tree, target.snapshot->tree, &selected);
    if (!deltas) return tl::unexpected(deltas.error());
    target.stay = scanner.kept_out().pass(target.snapshot->snapshot, *deltas);
    std::erase_if(*deltas, [&](const TreeDelta& d) { return !planned.insert(d.path).second; });
    target.deltas = std::move(*deltas);
    for (const TreeDelta& delta : target.deltas)
      if (!delta.mode_before) missing.push_back(delta.path);
    return {};
  }

  // `plan` has the targets, of the same order as `selections`. Gives the scan that it is from, with
  // what is missing from the listing and lies there.
  SnapshotResult<SnapshotScan> fill(const Fd& lock, const std::vector<Selected>& selections,
                                    RestorePlan& plan) {
    Ids in_use;
    for (const RestoreTarget& target : plan) in_use.push_back(target.snapshot->snapshot.id);
    auto now = scan(lock, in_use);
    for (const bool again : {true, false}) {
      if (!now) return now;
      std::unordered_set<std::string> planned;
      std::vector<std::string> missing;
      for (std::size_t i = 0; i < plan.size(); ++i) {
        auto found = find_deltas(*now, selections[i], planned, plan[i], missing);
        if (!found) return tl::unexpected(found.error());
      }
      if (!again || missing.empty()) break;
      now = scanner.scan_with(store, missing);
    }
    return now;
  }
};

Snapshots::Snapshots(std::unique_ptr<State> state) : state_(std::move(state)) {}
Snapshots::~Snapshots() = default;
Snapshots::Snapshots(Snapshots&&) noexcept = default;
Snapshots& Snapshots::operator=(Snapshots&&) noexcept = default;

SnapshotResult<Snapshots> Snapshots::open(const std::string& root, const std::string& private_dir,
                                          SnapshotLimits limits, const std::string& store_of) {
  auto store = SnapshotStore::open(store_of.empty() ? root : store_of, private_dir);
  if (!store) return tl::unexpected(store.error());
  return Snapshots(
      std::unique_ptr<State>(new State{root, blob_sha(root).substr(0, kWorktreeNameBytes),
                                       std::move(*store), limits, SnapshotScanner(root, limits)}));
}

SnapshotResult<Snapshot> Snapshots::take(const std::string& label, bool anew) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto scan = state_->scan(*lock);
  if (!scan) return tl::unexpected(scan.error());
  return state_->keep(*scan, label, anew);
}

SnapshotResult<std::vector<Snapshot>> Snapshots::list() const {
  auto stored = state_->store.list();
  if (!stored) return tl::unexpected(stored.error());
  std::vector<Snapshot> out;
  for (StoredSnapshot& one : *stored) out.push_back(std::move(one.snapshot));
  return out;
}

SnapshotResult<std::vector<SnapshotChange>> Snapshots::compare(std::string_view from,
                                                               std::string_view to) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto trees = state_->trees_of(*lock, from, to);
  if (!trees) return tl::unexpected(trees.error());
  auto deltas = diff_trees(state_->store, trees->first, trees->second);
  if (!deltas) return tl::unexpected(deltas.error());
  if (from == kWorktree && to != kWorktree) {
    const auto target = state_->store.find(to);
    if (!target) return tl::unexpected(target.error());
    state_->scanner.kept_out().pass(target->snapshot, *deltas);
  } else if (to == kWorktree && from != kWorktree) {
    const auto began = state_->store.find(from);
    if (!began) return tl::unexpected(began.error());
    turn_round(*deltas);
    state_->scanner.kept_out().pass(began->snapshot, *deltas);
    turn_round(*deltas);
  }
  std::vector<SnapshotChange> out;
  for (const TreeDelta& delta : *deltas) out.push_back(describe(state_->store, delta));
  return out;
}

SnapshotResult<std::string> Snapshots::diff(std::string_view from, std::string_view to,
                                            const std::string& path, std::size_t bytes_max) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto trees = state_->trees_of(*lock, from, to);
  if (!trees) return tl::unexpected(trees.error());
  const auto before = find_in_tree(state_->store, trees->first, path),
             after = find_in_tree(state_->store, trees->second, path);
  if (!before) return tl::unexpected(before.error());
  if (!after) return tl::unexpected(after.error());
  constexpr unsigned kType = 0170000;
  if (before->mode == 0 || after->mode == 0 || (before->mode & kType) == (after->mode & kType))
    return state_->patch(path, *before, *after, bytes_max);
  auto out = state_->patch(path, *before, {}, bytes_max);  // as git has a file made a link
  if (!out || out->size() >= bytes_max) return out;
  const auto rest = state_->patch(path, {}, *after, bytes_max - out->size());
  if (!rest) return rest;
  return *out + *rest;
}

SnapshotResult<std::string> Snapshots::text(std::string_view id, const std::string& path) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto tree = state_->tree_of(*lock, id);
  if (!tree) return tl::unexpected(tree.error());
  return state_->text_of(*tree, path);
}

SnapshotResult<Restored> Snapshots::restore(std::string_view id, const Selection& selection) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto target = state_->store.find(id);
  if (!target) return tl::unexpected(target.error());
  RestorePlan plan;
  plan.push_back({.snapshot = &*target, .deltas = {}, .stay = {}});
  const auto now = state_->fill(*lock, {Selected(selection)}, plan);
  if (!now) return tl::unexpected(now.error());
  auto before = state_->keep(*now, before_label(target->snapshot));
  if (!before) return tl::unexpected(before.error());
  Restored out{std::move(*before), {}, {}};
  restore_files(state_->root, state_->store, state_->scanner, plan, out);
  return out;
}

SnapshotResult<Restored> Snapshots::go_back(const std::vector<RestoreStep>& steps, bool dry) {
  return go_back(steps, dry ? Going::look : Going::go);
}

SnapshotResult<Restored> Snapshots::prepare_to_go_back(const std::vector<RestoreStep>& steps) {
  return go_back(steps, Going::prepare);
}

SnapshotResult<Restored> Snapshots::go_back(const std::vector<RestoreStep>& steps, Going how) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  Restored out;
  std::vector<StoredSnapshot> targets;
  std::vector<Selected> selections;
  targets.reserve(steps.size());
  RestorePlan plan;
  std::string why;
  for (const RestoreStep& step : steps) {
    auto target = state_->store.find(step.id);
    if (!target) {
      why = target.error();
      for (const std::string& path : step.selection.paths)
        out.not_done.push_back({path, target.error()});
      continue;
    }
    targets.push_back(std::move(*target));
    selections.emplace_back(step.selection);
    plan.push_back({.snapshot = &targets.back(),
                    .deltas = {},
                    .stay = {},
                    .moment_ns = state_->moment_of(targets.back())});
  }
  if (plan.empty() && !why.empty()) return tl::unexpected(why);
  if (plan.empty()) return out;
  const auto now = state_->fill(*lock, selections, plan);
  if (!now) return tl::unexpected(now.error());
  if (how == Going::look) {
    if (auto synced = state_->store.sync(); !synced) return tl::unexpected(synced.error());
  } else {
    auto before = state_->keep(*now, before_label(targets.front().snapshot));
    if (!before) return tl::unexpected(before.error());
    out.before = std::move(*before);
  }
  if (how == Going::go)
    restore_files(state_->root, state_->store, state_->scanner, plan, out);
  else
    foresee_restoring(state_->store, state_->scanner, plan, out);
  return out;
}

SnapshotResult<SnapshotMerge> Snapshots::merge(std::string_view base, std::string_view ours,
                                               std::string_view theirs, const std::string& label) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto began = state_->store.find(base), into = state_->store.find(ours),
             from = state_->store.find(theirs);
  for (const auto* side : {&began, &into, &from})
    if (!*side) return tl::unexpected(side->error());
  auto merged = merge_trees(state_->store, {.base = *began, .ours = *into, .theirs = *from});
  if (!merged) return tl::unexpected(merged.error());
  SnapshotMerge out{{}, {}, std::move(merged->conflicts), std::move(merged->kept)};
  if (!out.conflicts.empty()) return out;
  auto deltas = diff_trees(state_->store, into->tree, merged->tree);
  if (!deltas) return tl::unexpected(deltas.error());
  if (!into->snapshot.kept_out.empty()) {
    const auto git = GitView::open(state_->root);
    if (git) KeptOut::of(*git, {}).pass(into->snapshot, *deltas);
  }
  for (const TreeDelta& delta : *deltas) out.changes.push_back(describe(state_->store, delta));
  Snapshot made = into->snapshot;  // what is left out is left out there
  made.id.clear();
  made.worktree.clear();  // nobody's files were so
  made.label = as_label(label);
  made.time_ms = now_ns() / 1'000'000;
  auto added = state_->store.add(merged->tree, std::move(made), into->directories);
  if (!added) return tl::unexpected(added.error());
  out.merged = std::move(*added);
  return out;
}

SnapshotResult<Pruned> Snapshots::prune(const Retention& retention) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  return prune_store(state_->store, *lock, retention, now_ns() / 1'000'000);
}

}  // namespace lares::tools
