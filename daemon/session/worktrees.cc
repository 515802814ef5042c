#include "daemon/session/worktrees.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/on_disk_pool.h"
#include "daemon/session/facts.h"
#include "tools/file_patch.h"
#include "tools/git/worktree.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using protocol::Code;

constexpr std::size_t kShortId = 6;
constexpr std::size_t kFileDiffBytesMax = 256 << 10;  // shown; longer ones are cut

// How many of the uncommitted paths hold something that the snapshot leaves out, by name. None came
// with the worktree, for what is brought there comes of snapshots. No number: it cannot be told.
std::optional<std::int64_t> n_unheld(const std::vector<std::string>& uncommitted,
                                     const tools::Snapshot& now) {
  const bool names_all = now.incomplete.empty() && now.n_left_out <= now.left_out.size() &&
                         now.left_out.size() < tools::kSnapshotLeftOutMax;
  if (!names_all || uncommitted.empty() || uncommitted.size() >= tools::kUncommittedNamedMax)
    return std::nullopt;
  const auto holds = [](const std::string& directory, const std::string& path) {
    return directory.ends_with('/') && path.starts_with(directory);
  };
  return std::ranges::count_if(uncommitted, [&](const std::string& path) {
    return std::ranges::any_of(now.left_out, [&](const tools::PathReason& left) {
      return left.path == path || holds(left.path, path) || holds(path, left.path);
    });
  });
}

struct ShownDiff {
  std::string text;                         // whole lines
  std::int64_t n_added = 0, n_deleted = 0;  // of the whole diff
  bool cut = false;
};

// `diff` may have 32 MB: two versions of a file of kSnapshotFileBytesMax.
ShownDiff shown_diff(const tools::SnapshotChange& change, std::string diff) {
  ShownDiff out;
  count_lines(diff, out.n_added, out.n_deleted);
  out.cut = tools::cut_diff(diff, kFileDiffBytesMax);
  out.text = diff.empty()
                 ? fmt::format("{} {} (no text to show)\n", change_told(change).kind, change.path)
                 : std::move(diff);
  if (!out.text.ends_with('\n')) out.text += '\n';
  return out;
}

}  // namespace

std::string listed(const std::vector<tools::PathReason>& some) {
  std::string out;
  for (std::size_t i = 0; i < some.size() && i < kConflictsShown; ++i)
    out += fmt::format("{}{} ({})", i ? ", " : "", some[i].path, some[i].why);
  if (some.size() > kConflictsShown)
    out += fmt::format(" and {} more", some.size() - kConflictsShown);
  return out;
}

std::string branch_name(const std::string& title, const std::string& session_id) {
  std::string slug;
  for (const char c : title) {
    const bool upper = c >= 'A' && c <= 'Z',
               word = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (word)
      slug += static_cast<char>(upper ? c - 'A' + 'a' : c);
    else if (!slug.empty() && slug.back() != '-' && c != '\'')
      slug += '-';
    if (slug.size() == kSlugBytesMax) break;
  }
  while (slug.ends_with('-')) slug.pop_back();
  return fmt::format("lares/{}-{}", slug.empty() ? "session" : slug,
                     session_id.substr(0, kShortId));
}

void count_lines(std::string_view diff, std::int64_t& n_added, std::int64_t& n_deleted) {
  for (std::size_t at = 0; at < diff.size();) {
    const std::size_t end = std::min(diff.find('\n', at), diff.size());
    const std::string_view line = diff.substr(at, end - at);
    if (line.starts_with('+') && !line.starts_with("+++ ")) ++n_added;
    if (line.starts_with('-') && !line.starts_with("--- ")) ++n_deleted;
    at = end + 1;
  }
}

// ---- making one

Worktrees::Answer<WorktreeRecord> Worktrees::make(std::string worktree_of, std::string session_id,
                                                  std::string title) {
  WorktreeRecord record;
  record.session_id = session_id, record.worktree_of = worktree_of;
  record.root = records_.root_of(worktree_of, session_id);
  record.branch = branch_name(title, session_id);
  record.began_ms = unix_ms();
  const Claim making = claim(record.root);
  const auto begin = [&]() -> tl::expected<void, protocol::Error> {
    if (records_.all().size() >= kWorktreesMax) {
      return tl::unexpected(
          refusal(Code::overloaded,
                  fmt::format("make a worktree of {}: there are {} of sessions already",
                              worktree_of, kWorktreesMax),
                  "`lares worktrees` lists them, `lares worktrees remove ID` removes one"));
    }
    const std::string of_it = records_.store_of(worktree_of);
    record.store_of = of_it.empty() ? worktree_of : of_it;
    if (auto written = records_.write(record); !written)
      return tl::unexpected(refusal(Code::internal, "make a worktree: " + written.error()));
    auto commit = tools::add_worktree({.repository = worktree_of,
                                       .path = record.root,
                                       .name = record.name(),
                                       .branch = record.branch});
    if (!commit) {
      records_.remove(record);
      return tl::unexpected(refusal(Code::not_found, commit.error()));
    }
    record.commit = *commit;
    return {};
  };
  if (auto begun = co_await on_disk_pool(disk_, begin); !begun)
    co_return tl::unexpected(begun.error());
  auto bringing = bring_along(record);
  auto began = co_await std::move(bringing);
  protocol::Error failed;
  if (began) {
    record.began = began->id;
    const auto write = [&] { return records_.write(record); };
    const auto written = co_await on_disk_pool(disk_, write);
    if (written) co_return record;
    failed = refusal(Code::internal, "make a worktree: " + written.error());
  } else {
    failed = began.error();
  }
  const auto undo = [&] {  // what stays, and why
    std::string why;
    if (const auto removed = tools::remove_worktree(record.worktree_of, record.name(), record.root);
        !removed)
      why = removed.error();
    else if (const auto branch = tools::remove_branch(record.worktree_of, record.branch); !branch)
      why = branch.error();
    if (why.empty()) records_.remove(record);  // else `lares worktrees` still lists it
    return why;
  };
  if (const std::string why = co_await on_disk_pool(disk_, undo); !why.empty()) {
    failed.message += fmt::format("; what was made of it stays, for {}", why);
    failed.hint = fmt::format("`lares worktrees remove --force --branch {}` removes it",
                              record.session_id);
  }
  co_return tl::unexpected(std::move(failed));
}

// The user's uncommitted changes. Gives what the worktree is then.
Worktrees::Answer<tools::Snapshot> Worktrees::bring_along(WorktreeRecord record) {
  const std::string what = fmt::format("bring the changes in {} along", record.worktree_of);
  auto taking = checkpoints_.take(record.worktree_of,
                                  fmt::format("before the worktree of {}", record.session_id));
  const auto now = co_await std::move(taking);
  if (!now)
    co_return tl::unexpected(refusal(Code::internal, fmt::format("{}: {}", what, now.error())));
  auto restoring = checkpoints_.restore(record.root, now->id,
                                        tools::Selection{.all = true, .paths = {}});
  auto brought = co_await std::move(restoring);
  if (!brought)
    co_return tl::unexpected(refusal(Code::internal, fmt::format("{}: {}", what, brought.error())));
  // What no snapshot holds for its size, and git all the same (a large file's pointer), is here as
  // git has it.
  const auto leave = [&] {
    std::error_code ec;
    std::erase_if(brought->not_done, [&](const tools::PathReason& file) {
      return fs::exists(fs::symlink_status(fs::path(record.worktree_of) / file.path, ec));
    });
    return brought->not_done.empty();
  };
  const bool all = co_await on_disk_pool(disk_, leave);
  if (!all)
    co_return tl::unexpected(
        refusal(Code::internal, fmt::format("{}: {}", what, listed(brought->not_done))));
  auto beginning = checkpoints_.take(record.root, began_label(record.root), /*anew=*/true);
  auto began = co_await std::move(beginning);
  if (!began)
    co_return tl::unexpected(refusal(Code::internal, fmt::format("{}: {}", what, began.error())));
  co_return std::move(*began);
}

Worktrees::Answer<WorktreeRecord> Worktrees::find(std::string root) {
  const auto look = [&] { return records_.find(root); };
  auto record = co_await on_disk_pool(disk_, look);
  if (!record)
    co_return tl::unexpected(refusal(
        Code::not_found,
        fmt::format("{} is no worktree made for a session; `lares worktrees` lists those", root)));
  co_return std::move(*record);
}

Worktrees::Claim Worktrees::claim(const std::string& root) {
  if (!claimed_.insert(root).second) return nullptr;
  return {this, [root](void* self) { static_cast<Worktrees*>(self)->claimed_.erase(root); }};
}

Worktrees::Answer<WorktreeRecord> Worktrees::claimed(Claim claim, WorktreeRecord record,
                                                     std::string what) {
  if (!claim)
    co_return tl::unexpected(refusal(Code::busy,
                                     fmt::format("{}: another request is at {}", what, record.root),
                                     "try again when it is done"));
  auto finding = find(record.root);
  auto found = co_await std::move(finding);
  co_return found;
}

asio::awaitable<std::vector<WorktreeRecord>> Worktrees::all(std::string worktree_of) {
  const auto look = [&] {
    auto all = records_.all();
    if (!worktree_of.empty())
      std::erase_if(all, [&](const auto& r) { return r.worktree_of != worktree_of; });
    return all;
  };
  co_return co_await on_disk_pool(disk_, look);
}

// ---- looking at one

asio::awaitable<protocol::WorktreeInfo> Worktrees::look_at(WorktreeRecord record) {
  protocol::WorktreeInfo out{.session_id = record.session_id,
                             .root = record.root,
                             .worktree_of = record.worktree_of,
                             .branch = record.branch,
                             .began_ms = record.began_ms,
                             .applied = !record.applied.before.empty()};
  const auto look = [&]() -> std::optional<tools::WorktreeLook> {
    std::error_code ec;
    if (!fs::exists(record.root, ec)) return std::nullopt;
    auto seen = tools::look_at_worktree(record.root);
    // What cannot be read is not thrown away unasked
    return seen ? *seen : tools::WorktreeLook{.uncommitted = true};
  };
  const auto seen = co_await on_disk_pool(disk_, look);
  out.gone = !seen;
  if (!seen) co_return out;
  if (record.began.empty()) {  // its making was cut off, and what came with it is not known
    out.uncommitted = seen->uncommitted;
    co_return out;
  }
  auto comparing = checkpoints_.compare(record.root, record.began, std::string(tools::kWorktree));
  const auto changes = co_await std::move(comparing);
  out.n_changed = changes ? static_cast<std::int64_t>(changes->size()) : 0;
  out.uncommitted = seen->uncommitted && (!changes || !changes->empty());
  if (out.uncommitted && !record.applied.theirs.empty() && !record.applied.putting) {
    auto since_comparing = checkpoints_.compare(record.root, record.applied.theirs,
                                                std::string(tools::kWorktree));
    const auto since = co_await std::move(since_comparing);
    out.uncommitted = !since || !since->empty();  // what was applied is not lost
  }
  if (out.uncommitted || !seen->uncommitted) co_return out;
  auto taking = checkpoints_.take(record.root, fmt::format("{} looked at", record.session_id));
  const auto now = co_await std::move(taking);
  const std::optional<std::int64_t> unheld = now ? n_unheld(seen->paths, *now) : std::nullopt;
  out.uncommitted = !unheld || *unheld > 0;
  out.n_changed += unheld.value_or(0);
  co_return out;
}

Worktrees::Answer<protocol::WorktreeDiffResult> Worktrees::diff(WorktreeRecord record,
                                                                std::int64_t bytes_max) {
  const std::string what = fmt::format("read the changes in {}", record.root);
  auto taking = checkpoints_.take(record.root, fmt::format("{} looked at", record.session_id));
  const auto now = co_await std::move(taking);
  if (!now)
    co_return tl::unexpected(refusal(Code::internal, fmt::format("{}: {}", what, now.error())));
  // With the files themselves, for they say what came of a sparse checkout that was widened.
  auto comparing = checkpoints_.compare(record.root, record.began, std::string(tools::kWorktree));
  const auto changes = co_await std::move(comparing);
  if (!changes)
    co_return tl::unexpected(refusal(Code::internal, fmt::format("{}: {}", what, changes.error())));
  const auto look = [&] { return tools::look_at_worktree(record.root); };
  const auto seen = co_await on_disk_pool(disk_, look);
  protocol::WorktreeDiffResult out;
  const auto unheld = seen ? n_unheld(seen->paths, *now) : std::nullopt;
  const bool may_be_unheld = now->n_left_out > 0 || !now->incomplete.empty();
  out.n_changed = static_cast<std::int64_t>(changes->size()) + unheld.value_or(0);
  out.cut = !seen || (unheld ? *unheld > 0 : !seen->paths.empty() && may_be_unheld);
  bool full = false;
  for (const auto& change : *changes) {
    auto reading = checkpoints_.diff(record.root, record.began, now->id, change.path, SIZE_MAX);
    const auto text = co_await std::move(reading);
    if (!text)
      co_return tl::unexpected(refusal(Code::internal, fmt::format("{}: {}", what, text.error())));
    const auto show = [&] { return shown_diff(change, *text); };
    const auto shown = co_await on_disk_pool(disk_, show);
    out.n_added += shown.n_added, out.n_deleted += shown.n_deleted;
    full = full || static_cast<std::int64_t>(out.diff.size() + shown.text.size()) > bytes_max;
    out.cut = out.cut || shown.cut || full;
    if (!full) out.diff += shown.text;
  }
  co_return out;
}

// ---- removing it

Worktrees::Answer<protocol::WorktreeRemoveResult> Worktrees::remove(WorktreeRecord record,
                                                                    bool branch, bool force) {
  const std::string what = fmt::format("remove the worktree of session {}", record.session_id);
  const Claim removing = claim(record.root);
  auto finding = claimed(removing, std::move(record), what);
  auto found = co_await std::move(finding);
  if (!found) co_return tl::unexpected(found.error());
  record = std::move(*found);
  if (!force) {
    auto looking = look_at(record);
    const auto info = co_await std::move(looking);
    if (info.uncommitted) {
      co_return tl::unexpected(refusal(
          Code::conflict, fmt::format("{}: it has uncommitted changes in {}", what, record.root),
          "`lares apply` brings them into your worktree; --force removes them"));
    }
  }
  const auto work = [&]() -> tl::expected<protocol::WorktreeRemoveResult, protocol::Error> {
    const auto failed = [&](const std::string& why) {
      return tl::unexpected(refusal(Code::internal, fmt::format("{}: {}", what, why)));
    };
    protocol::WorktreeRemoveResult out{.root = record.root, .branch = record.branch};
    std::error_code ec;
    const bool removes_branch = branch && fs::exists(record.worktree_of, ec);
    if (removes_branch && !force) {
      const auto commits = tools::branch_has_commits(record.worktree_of, record.branch,
                                                     record.commit);
      if (!commits) return failed(commits.error());
      if (*commits) {
        return tl::unexpected(
            refusal(Code::conflict,
                    fmt::format("{}: its branch {} has commits that HEAD does not have", what,
                                record.branch),
                    "merge the branch, leave out --branch, or --force"));
      }
    }
    if (auto removed = tools::remove_worktree(record.worktree_of, record.name(), record.root);
        !removed)
      return failed(removed.error());
    if (removes_branch) {
      if (auto removed = tools::remove_branch(record.worktree_of, record.branch); !removed)
        return failed(removed.error());
      out.branch_removed = true;
    }
    records_.remove(record);
    return out;
  };
  co_return co_await on_disk_pool(disk_, work);
}

// Where its making was cut off nobody was told of it, and its files are the repository's.
Worktrees::Answer<protocol::WorktreeRemoveResult> Worktrees::remove_unused(WorktreeRecord record) {
  const bool made = !record.began.empty();
  if (!made) {
    const auto look = [&] {
      return tools::branch_has_commits(record.worktree_of, record.branch, record.commit);
    };
    const auto commits = co_await on_disk_pool(disk_, look);
    if (!commits || *commits)
      co_return tl::unexpected(refusal(
          Code::conflict, fmt::format("remove the worktree {}: {}", record.root,
                                      commits ? "its branch has commits that HEAD does not have"
                                              : commits.error())));
  }
  auto removing = remove(std::move(record), /*branch=*/true, /*force=*/!made);
  auto removed = co_await std::move(removing);
  co_return removed;
}

}  // namespace lares::daemon
