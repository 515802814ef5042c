// What a session's worktree has, brought into the user's, and taken out again.
#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/on_disk_pool.h"
#include "daemon/session/facts.h"
#include "daemon/session/worktrees.h"

namespace lares::daemon {
namespace {

using protocol::Code;

std::vector<protocol::RewindChange> told(const std::vector<tools::SnapshotChange>& changes) {
  std::vector<protocol::RewindChange> out;
  for (const auto& change : changes) out.push_back(change_told(change));
  return out;
}

// For a shell.
std::string shell_word(std::string_view word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:@%=";
  if (word.find_first_not_of(kPlain) == std::string_view::npos) return std::string(word);
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

// What a session did is not on its branch before somebody commits it there.
std::string how_to_merge(const WorktreeRecord& record) {
  return fmt::format(
      "commit what you have; then `cd {0} && git add -A && git commit -m {1}` commits what it has, "
      "and `git merge {1}` in {2} merges that",
      shell_word(record.root), record.branch, shell_word(record.worktree_of));
}

tools::Selection paths_of(const std::vector<tools::SnapshotChange>& changes) {
  tools::Selection out;
  for (const auto& change : changes) out.paths.push_back(change.path);
  return out;
}

}  // namespace

Worktrees::Answer<protocol::WorktreeApplyResult> Worktrees::apply(WorktreeRecord record,
                                                                  bool dry_run) {
  const std::string what = fmt::format("apply the changes of session {} to {}", record.session_id,
                                       record.worktree_of);
  const auto failed = [&](const std::string& why) {
    return tl::unexpected(refusal(Code::internal, fmt::format("{}: {}", what, why)));
  };
  const Claim applying = claim(record.root);
  auto finding = claimed(applying, std::move(record), what);
  auto found = co_await std::move(finding);
  if (!found) co_return tl::unexpected(found.error());
  record = std::move(*found);
  auto theirs_taking = checkpoints_.take(record.root, applied_label(record.root),
                                         /*anew=*/!dry_run);
  const auto theirs = co_await std::move(theirs_taking);
  if (!theirs) co_return failed(theirs.error());
  auto ours_taking = checkpoints_.take(record.worktree_of,
                                       fmt::format("before the changes of {}", record.session_id));
  const auto ours = co_await std::move(ours_taking);
  if (!ours) co_return failed(ours.error());
  auto looking = with_what_is_applied(std::move(record), ours->id, what);
  auto known = co_await std::move(looking);
  if (!known) co_return tl::unexpected(known.error());
  record = std::move(*known);
  // What was applied is here already, whatever became of it.
  const bool again = !record.applied.theirs.empty();
  Checkpoints::Three three{again ? record.applied.theirs : record.began, ours->id, theirs->id};
  const std::string label = fmt::format("the changes of {} applied", record.session_id);
  auto merging = checkpoints_.merge(record.worktree_of, three, label);
  auto merged = co_await std::move(merging);
  if (!merged && again) {  // records of earlier versions did not keep that snapshot
    three.base = record.began;
    auto merging_all = checkpoints_.merge(record.worktree_of, three, label);
    merged = co_await std::move(merging_all);
  }
  if (!merged) co_return failed(merged.error());
  if (!merged->conflicts.empty()) {
    const std::size_t n = merged->conflicts.size();
    co_return tl::unexpected(
        refusal(Code::conflict,
                fmt::format("{}: nothing was applied, for {} conflict{}: {}", what, n,
                            n == 1 ? "" : "s", listed(merged->conflicts)),
                how_to_merge(record)));
  }
  protocol::WorktreeApplyResult out{.worktree_of = record.worktree_of,
                                    .changes = told(merged->changes)};
  const std::vector<tools::PathReason>* const unbrought[] = {&theirs->left_out, &merged->kept};
  for (const auto* left : unbrought)
    for (const auto& [path, why] : *left) out.not_brought.push_back({path, why});
  if (dry_run || merged->changes.empty()) co_return out;
  const WorktreeRecord before = record;
  std::vector<std::string> paths = paths_of(merged->changes).paths;
  record.apply({ours->id, merged->merged.id, theirs->id, paths, /*putting=*/true});
  // First, so that it can be taken back whatever becomes of the daemon
  const auto write = [&] { return records_.write(record); };
  if (const auto written = co_await on_disk_pool(disk_, write); !written)
    co_return failed(
        fmt::format("nothing was applied, for it could not be taken back: {}", written.error()));
  auto putting = put(record, *ours, *merged, what);
  const Put is_put = co_await std::move(putting);
  bool part = false;
  if (!is_put.done && !is_put.nothing) {
    auto comparing = any_differs(record.worktree_of, ours->id, std::string(tools::kWorktree),
                                 std::move(paths));
    part = co_await std::move(comparing);
  }
  if (is_put.done)
    record.applied.putting = false;
  else if (!part)
    record = before;
  // Where this fails, what is there says at the next time whether it was put or not
  if (!part) (void)co_await on_disk_pool(disk_, write);
  if (is_put.done) co_return out;
  protocol::Error error = is_put.done.error();
  if (part)
    error.hint = fmt::format("`lares apply --undo {}` takes back what is there of it",
                             record.session_id);
  co_return tl::unexpected(std::move(error));
}

asio::awaitable<bool> Worktrees::any_differs(std::string root, std::string then, std::string now,
                                             std::vector<std::string> paths) {
  auto comparing = checkpoints_.compare(std::move(root), std::move(then), std::move(now));
  const auto differ = co_await std::move(comparing);
  const tools::Selected selected(tools::Selection{.all = false, .paths = std::move(paths)});
  co_return !differ ||
      std::ranges::any_of(*differ, [&](const auto& change) { return selected.holds(change.path); });
}

// What is as it was before it was applied was taken out by hand, as with `git stash`, or a daemon
// died before it was put there.
Worktrees::Answer<WorktreeRecord> Worktrees::with_what_is_applied(WorktreeRecord record,
                                                                  std::string ours,
                                                                  std::string what) {
  while (!record.applied.before.empty()) {
    auto comparing = any_differs(record.worktree_of, record.applied.before, ours,
                                 record.applied.paths);
    const bool is_here = co_await std::move(comparing);
    if (is_here) break;
    record.take_back();
  }
  if (!record.applied.putting) co_return record;
  auto comparing = any_differs(record.worktree_of, record.applied.after, ours,
                               record.applied.paths);
  const bool part = co_await std::move(comparing);
  if (part)
    co_return tl::unexpected(refusal(
        Code::conflict,
        fmt::format("{}: it was being done when the daemon ended, and a part of it is there", what),
        fmt::format("`lares apply --undo {}` takes that back", record.session_id)));
  record.applied.putting = false;
  co_return record;
}

// All of it, or as `ours` was.
asio::awaitable<Worktrees::Put> Worktrees::put(WorktreeRecord record, tools::Snapshot ours,
                                               tools::SnapshotMerge merged, std::string what) {
  const auto failed = [&](const std::string& why) {
    return Put{tl::unexpected(refusal(Code::internal, fmt::format("{}: {}", what, why)))};
  };
  const tools::Selection selection = paths_of(merged.changes);
  auto restoring = checkpoints_.restore(record.worktree_of, merged.merged.id, selection);
  const auto restored = co_await std::move(restoring);
  if (!restored) co_return failed(restored.error());
  std::vector<tools::PathReason> wrong = restored->not_done;
  if (restored->before.id != ours.id) {  // somebody saved a file between the merging and now
    auto comparing = checkpoints_.compare(record.worktree_of, ours.id, restored->before.id);
    const auto meanwhile = co_await std::move(comparing);
    if (!meanwhile) co_return failed(meanwhile.error());
    const tools::Selected selected(selection);
    for (const auto& change : *meanwhile)
      if (selected.holds(change.path)) wrong.push_back({change.path, "changed meanwhile"});
  }
  if (wrong.empty()) co_return Put{};
  auto undoing = checkpoints_.restore(record.worktree_of, restored->before.id,
                                      paths_of(restored->done));
  const auto undone = co_await std::move(undoing);
  if (!undone || !undone->not_done.empty())
    co_return failed(fmt::format("{}; what was done already could not be taken back: {}",
                                 listed(wrong),
                                 undone ? listed(undone->not_done) : undone.error()));
  auto conflict = refusal(
      Code::conflict, fmt::format("{}: nothing was applied: {}", what, listed(wrong)), "try again");
  Put nothing{tl::unexpected(std::move(conflict)), /*nothing=*/true};
  co_return nothing;
}

Worktrees::Answer<protocol::WorktreeApplyResult> Worktrees::take_back(WorktreeRecord record,
                                                                      bool dry_run) {
  const std::string what = fmt::format("take the changes of session {} out of {} again",
                                       record.session_id, record.worktree_of);
  const auto failed = [&](const std::string& why) {
    return tl::unexpected(refusal(Code::internal, fmt::format("{}: {}", what, why)));
  };
  const Claim taking_back = claim(record.root);
  auto finding = claimed(taking_back, std::move(record), what);
  auto found = co_await std::move(finding);
  if (!found) co_return tl::unexpected(found.error());
  record = std::move(*found);
  if (record.applied.before.empty())
    co_return tl::unexpected(refusal(Code::not_found, what + ": they are not applied"));
  const tools::Selection selection{.all = false, .paths = record.applied.paths};
  const tools::Selected selected(selection);
  auto since_comparing = checkpoints_.compare(record.worktree_of, record.applied.after,
                                              std::string(tools::kWorktree));
  const auto since = co_await std::move(since_comparing);
  if (!since) co_return failed(since.error());
  auto back_comparing = checkpoints_.compare(record.worktree_of, record.applied.before,
                                             std::string(tools::kWorktree));
  const auto not_back = co_await std::move(back_comparing);
  if (!not_back) co_return failed(not_back.error());
  // What was not put there, for a daemon died, is as it is to be.
  std::set<std::string> away;
  for (const auto& change : *not_back) away.insert(change.path);
  std::vector<tools::PathReason> touched;
  for (const auto& change : *since)
    if (selected.holds(change.path) && away.contains(change.path))
      touched.push_back({change.path, "changed since"});
  if (!touched.empty())
    co_return tl::unexpected(refusal(
        Code::conflict, fmt::format("{}: nothing was taken back: {}", what, listed(touched))));
  protocol::WorktreeApplyResult out{.worktree_of = record.worktree_of};
  auto comparing = checkpoints_.compare(record.worktree_of, record.applied.after,
                                        record.applied.before);
  const auto changes = co_await std::move(comparing);
  if (!changes) co_return failed(changes.error());
  for (const auto& change : *changes)
    if (selected.holds(change.path) && away.contains(change.path))
      out.changes.push_back(change_told(change));
  if (dry_run) co_return out;
  auto restoring = checkpoints_.restore(record.worktree_of, record.applied.before, selection);
  const auto restored = co_await std::move(restoring);
  if (!restored) co_return failed(restored.error());
  for (const auto& [path, why] : restored->not_done) out.not_brought.push_back({path, why});
  record.take_back();
  const auto write = [&] { return records_.write(record); };
  if (const auto written = co_await on_disk_pool(disk_, write); !written)
    co_return failed(written.error());
  co_return out;
}

}  // namespace lares::daemon
