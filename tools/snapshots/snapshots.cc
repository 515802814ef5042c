#include "tools/snapshots/snapshots.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "tools/snapshots/kept_out.h"
#include "tools/snapshots/merge.h"
#include "tools/snapshots/restore.h"
#include "tools/snapshots/scan.h"
#include "tools/snapshots/store.h"
#include "tools/snapshots/tree.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

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

}  // namespace

bool Selection::holds(std::string_view path) const {
  return all || std::ranges::any_of(paths, [&](std::string_view chosen) {
           while (chosen.ends_with('/')) chosen.remove_suffix(1);
           return !chosen.empty() && path.starts_with(chosen) &&
                  (path.size() == chosen.size() || path[chosen.size()] == '/');
         });
}

struct Snapshots::State {
  std::string root;
  SnapshotStore store;
  SnapshotScanner scanner;

  // A scan that is the newest snapshot's again makes no new one.
  SnapshotResult<Snapshot> keep(const SnapshotScan& scan, const std::string& label,
                                bool anew = false) {
    auto newest = store.newest();
    if (!newest) return tl::unexpected(newest.error());
    if (!newest->snapshot.id.empty() && git_oid_equal(&newest->tree, &scan.tree) &&
        same_notes(newest->snapshot, scan.about) &&
        !(anew && newest->snapshot.label != as_label(label))) {
      return std::move(newest->snapshot);
    }
    Snapshot made = scan.about;
    made.label = as_label(label);
    made.time_ms = now_ns() / 1'000'000;
    return store.add(scan.tree, std::move(made));
  }

  SnapshotResult<git_oid> tree_of(std::string_view id) {
    if (id != kWorktree) {
      const auto stored = store.find(id);
      return stored ? SnapshotResult<git_oid>(stored->tree) : tl::unexpected(stored.error());
    }
    const auto scan = scanner.scan(store);
    if (!scan) return tl::unexpected(scan.error());
    if (auto synced = store.sync(); !synced)
      return tl::unexpected(synced.error());  // others take what is there for durable
    return scan->tree;
  }
  SnapshotResult<std::pair<git_oid, git_oid>> trees_of(std::string_view from, std::string_view to) {
    const auto before = tree_of(from);
    if (!before) return tl::unexpected(before.error());
    const auto after = tree_of(to);
    if (!after) return tl::unexpected(after.error());
    return std::pair(*before, *after);
  }
  SnapshotResult<std::string> text_of(const git_oid& tree, const std::string& path) {
    const auto file = find_in_tree(store, tree, path);
    if (!file) return tl::unexpected(file.error());
    return file->mode ? store.blob(file->oid) : SnapshotResult<std::string>("");
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
      std::unique_ptr<State>(new State{root, std::move(*store), SnapshotScanner(root, limits)}));
}

SnapshotResult<Snapshot> Snapshots::take(const std::string& label, bool anew) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto scan = state_->scanner.scan(state_->store);
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
  const auto trees = state_->trees_of(from, to);
  if (!trees) return tl::unexpected(trees.error());
  auto deltas = diff_trees(state_->store, trees->first, trees->second);
  if (!deltas) return tl::unexpected(deltas.error());
  if (from == kWorktree && to != kWorktree) {
    const auto target = state_->store.find(to);
    if (!target) return tl::unexpected(target.error());
    state_->scanner.kept_out().pass(target->snapshot, *deltas);
  }
  std::vector<SnapshotChange> out;
  for (const TreeDelta& delta : *deltas) out.push_back(describe(state_->store, delta));
  return out;
}

SnapshotResult<std::string> Snapshots::diff(std::string_view from, std::string_view to,
                                            const std::string& path, std::size_t bytes_max) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto trees = state_->trees_of(from, to);
  if (!trees) return tl::unexpected(trees.error());
  const auto before = state_->text_of(trees->first, path),
             after = state_->text_of(trees->second, path);
  if (!before) return before;
  if (!after) return after;
  return unified_diff(path, *before, *after, bytes_max);
}

SnapshotResult<std::string> Snapshots::text(std::string_view id, const std::string& path) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto tree = state_->tree_of(id);
  if (!tree) return tl::unexpected(tree.error());
  return state_->text_of(*tree, path);
}

SnapshotResult<Restored> Snapshots::restore(std::string_view id, const Selection& selection) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto target = state_->store.find(id);
  if (!target) return tl::unexpected(target.error());
  auto scan = state_->scanner.scan(state_->store);
  if (!scan) return tl::unexpected(scan.error());
  RestorePlan plan{{}, {}, &target->snapshot};
  // What is not among the files now may lie there all the same, ignored since then; then it is to
  // be in the snapshot of now.
  for (const bool again : {true, false}) {
    auto deltas = diff_trees(state_->store, scan->tree, target->tree);
    if (!deltas) return tl::unexpected(deltas.error());
    std::erase_if(*deltas, [&](const TreeDelta& delta) { return !selection.holds(delta.path); });
    plan.stay = state_->scanner.kept_out().pass(target->snapshot, *deltas);
    plan.deltas = std::move(*deltas);
    std::vector<std::string> missing;
    for (const TreeDelta& delta : plan.deltas) {
      if (!delta.mode_before) missing.push_back(delta.path);
    }
    if (!again || missing.empty()) break;
    scan = state_->scanner.scan_with(state_->store, missing);
    if (!scan) return tl::unexpected(scan.error());
  }
  auto before = state_->keep(*scan, fmt::format("before going back to {}", target->snapshot.label));
  if (!before) return tl::unexpected(before.error());
  Restored out{std::move(*before), {}, {}};
  restore_files(state_->root, state_->store, state_->scanner, plan, out);
  return out;
}

SnapshotResult<SnapshotMerge> Snapshots::merge(std::string_view base, std::string_view ours,
                                               std::string_view theirs, const std::string& label) {
  const auto lock = state_->store.lock();
  if (!lock) return tl::unexpected(lock.error());
  const auto trees = state_->trees_of(base, theirs);
  if (!trees) return tl::unexpected(trees.error());
  const auto into = state_->store.find(ours);
  if (!into) return tl::unexpected(into.error());
  auto merged = merge_trees(state_->store,
                            {.base = trees->first, .ours = into->tree, .theirs = trees->second});
  if (!merged) return tl::unexpected(merged.error());
  SnapshotMerge out{{}, {}, std::move(merged->conflicts)};
  for (PathReason& conflict : out.conflicts)
    if (conflict.why == kRemovedHere && names_hold(into->snapshot.kept_out, conflict.path))
      conflict.why = "outside the sparse checkout here, changed by the session";
  if (!out.conflicts.empty()) return out;
  const auto deltas = diff_trees(state_->store, into->tree, merged->tree);
  if (!deltas) return tl::unexpected(deltas.error());
  for (const TreeDelta& delta : *deltas) out.changes.push_back(describe(state_->store, delta));
  Snapshot made = into->snapshot;  // what is left out is left out there
  made.id.clear();
  made.label = as_label(label);
  made.time_ms = now_ns() / 1'000'000;
  auto added = state_->store.add(merged->tree, std::move(made));
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
