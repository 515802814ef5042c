#include "daemon/cli/commands/worktrees.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <vector>

#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/reach.h"
#include "daemon/cli/report.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

// Escaped it is longer, and it is one line
constexpr std::int64_t kPatchBytesMax = protocol::kLineBytesMax / 4;

std::string cell(const std::string& text, int width) {
  std::string cut = clip(one_line(text), width, "~");
  cut.append(static_cast<std::size_t>(std::max(0, width - columns(cut))), ' ');
  return cut;
}

std::string changes_text(const protocol::WorktreeInfo& w) {
  if (w.gone) return "gone";
  if (w.n_changed == 0) return "none";
  return fmt::format("{} file{}{}", w.n_changed, w.n_changed == 1 ? "" : "s",
                     w.applied        ? ", applied"
                     : !w.uncommitted ? ", committed"
                                      : "");
}

int list(const std::string& root, bool all, DaemonOptions& options) {
  if (auto usable = options.resolve(); !usable) return fail(usable.error(), options.json);
  protocol::WorktreeList request;
  if (!all) {
    const auto top = repository_root(root);
    if (!top) return fail(top.error(), options.json);
    request.root = *top;
  }
  Link link;
  if (const auto there = reach(link, options); !there) return fail(there.error(), options.json);
  const auto listed = link.call<protocol::WorktreeListResult>(request);
  if (!listed) return fail(listed.error(), options.json);
  if (options.json)
    print_line(protocol::dump(protocol::to_json(*listed)));
  else
    print_out("{}", worktrees_text(listed->worktrees, Terminal::detect(STDOUT_FILENO)));
  return kExitFinished;
}

int remove(const std::vector<std::string>& ids, bool branch, bool force, DaemonOptions& options) {
  if (auto usable = options.resolve(); !usable) return fail(usable.error(), options.json);
  Link link;
  if (const auto there = reach(link, options); !there) return fail(there.error(), options.json);
  int status = kExitFinished;
  for (const std::string& id : ids) {
    protocol::WorktreeRemove request;
    request.session_id = id, request.branch = branch, request.force = force;
    const auto removed = link.call<protocol::WorktreeRemoveResult>(request);
    if (!removed)
      status = fail(removed.error(), options.json);
    else if (options.json)
      print_line(protocol::dump(protocol::to_json(*removed)));
    else
      print_out("removed {}{}\n", removed->root,
                removed->branch_removed ? " and its branch " + removed->branch
                                        : "; its branch " + removed->branch + " stays");
  }
  return status;
}

// The one that one is in, or else the newest of this repository, unless one is named.
Result<std::string> which(Link& link, const std::string& id) {
  if (!id.empty()) return id;
  const auto top = repository_root("");
  if (!top) return tl::unexpected(top.error());
  protocol::WorktreeList request;
  request.root = *top;
  const auto listed = link.call<protocol::WorktreeListResult>(request);
  if (!listed) return tl::unexpected(listed.error());
  for (const auto& worktree : listed->worktrees)  // the one that one is in, before the newest
    if (worktree.root == *top) return worktree.session_id;
  for (const auto& worktree : listed->worktrees)
    if (!worktree.gone) return worktree.session_id;
  return tl::unexpected(Error{fmt::format(
      "find the newest worktree of {}: no session has one; `lares run --worktree` makes one",
      *top)});
}

}  // namespace

std::string worktrees_text(const std::vector<protocol::WorktreeInfo>& worktrees,
                           const Terminal& t) {
  if (worktrees.empty())
    return "no session has a worktree of its own; `lares run --worktree` makes one\n";
  constexpr int kBranchMax = 36, kChanges = 16;
  int branch = 6;
  for (const auto& w : worktrees)
    branch = std::max(branch, std::min(columns(w.branch), kBranchMax));
  std::string out = t.paint(Style::dim,
                            fmt::format("{:<12} {:>4} {} {} title", "session", "age",
                                        cell("branch", branch), cell("changes", kChanges))) +
                    "\n";
  for (const auto& w : worktrees) {
    const std::string state = w.state.empty() || w.state == "idle" ? "" : " [" + w.state + "]";
    const std::string row = fmt::format("{:<12} {:>4} {} {} {}", w.session_id, age(w.began_ms),
                                        cell(w.branch, branch),
                                        cell(changes_text(w) + state, kChanges), one_line(w.title));
    out += (t.width > 0 ? clip(row, t.width, "~") : row) + "\n";
  }
  return out;
}

std::string applied_text(const protocol::WorktreeApplyResult& done,
                         const protocol::WorktreeApply& asked) {
  std::string out;
  for (const auto& change : done.changes)
    out += fmt::format("  {:<8} {}\n", change.kind, printable(change.path));
  for (const auto& file : done.not_brought)
    out += fmt::format("  left out {}: {}\n", printable(file.path), printable(file.why));
  const std::size_t n = done.changes.size();
  const std::string files = fmt::format("{} file{}", n, n == 1 ? "" : "s");
  if (n == 0) return out + "nothing to change: all that the session changed was brought already\n";
  if (asked.dry_run)
    return out + fmt::format("would {} {} in {}\n", asked.undo ? "take back" : "change", files,
                             printable(done.worktree_of));
  if (asked.undo)
    return out + fmt::format("took {} back in {}\n", files, printable(done.worktree_of));
  return out + fmt::format("changed {} in {}, uncommitted; `lares apply --undo {}` takes it back\n",
                           files, printable(done.worktree_of), asked.session_id);
}

void print_patch(std::string_view diff, int fd, const Terminal& terminal) {
  Screen screen(fd, terminal);
  const bool person = ::isatty(fd) == 1;  // else `git apply` may read it: as it is
  while (!diff.empty()) {
    const std::size_t end = std::min(diff.find('\n'), diff.size());
    const std::string_view line = diff.substr(0, end);
    const Style style = line.starts_with("+++") || line.starts_with("---") ? Style::bold
                        : line.starts_with('+')                            ? Style::green
                        : line.starts_with('-')                            ? Style::red
                        : line.starts_with("@@")                           ? Style::cyan
                                                                           : Style::plain;
    screen.line(person ? terminal.paint(style, exact(line)) : std::string(line));
    diff.remove_prefix(std::min(end + 1, diff.size()));
  }
}

int worktrees_command(int argc, const char* const* argv) {
  CLI::App app(
      "Lists the worktrees that sessions of this repository have of their own, newest first "
      "(`lares run --worktree` makes them).",
      "lares worktrees");
  DaemonOptions options;
  std::string root, action;
  std::vector<std::string> ids;
  bool all = false, branch = false, force = false;
  app.add_option("ACTION", action, "remove: closes these sessions and removes their worktrees")
      ->check(CLI::IsMember({"list", "remove"}));
  app.add_option("ID", ids, "sessions, or beginnings of their ids")->check(session_id());
  app.add_option("--root", root, "the repository (default: the current one)")
      ->check(directory_name());
  app.add_flag("--all", all, "of every repository");
  app.add_flag("--branch", branch, "remove: their branches too");
  app.add_flag("--force", force, "remove: with what is not committed, or in no other branch");
  options.add_to(app, /*starts_daemon=*/true);
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  const bool removes = action == "remove";
  if (removes == ids.empty() || (!removes && (branch || force))) {
    return say_why_not(fmt::format("lares worktrees: {}: lares worktrees remove ID ...",
                                   removes ? "remove needs the ids of sessions"
                                           : "ids, --branch and --force belong to remove"),
                       kExitUsage, options.json);
  }
  return removes ? remove(ids, branch, force, options) : list(root, all, options);
}

int apply_command(int argc, const char* const* argv) {
  CLI::App app(
      "Brings what a session did in its own worktree into yours, as uncommitted changes: all of "
      "it, or nothing where both changed "
      "the same lines.",
      "lares apply");
  DaemonOptions options;
  std::string id;
  bool dry_run = false, undo = false, diff = false;
  app.add_option("ID", id,
                 "the session (default: the newest with a worktree of this repository; see lares "
                 "worktrees)")
      ->check(session_id());
  auto* only_say = app.add_flag("-n,--dry-run", dry_run, "only say what would be done");
  auto* take_back = app.add_flag("--undo", undo, "take the last applying of it back");
  app.add_flag("--diff", diff, "only show what it did, as a patch")
      ->excludes(only_say)
      ->excludes(take_back);
  options.add_to(app, /*starts_daemon=*/true);
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = options.resolve(); !usable) return fail(usable.error(), options.json);
  Link link;
  if (const auto there = reach(link, options); !there) return fail(there.error(), options.json);
  const auto session = which(link, id);
  if (!session) return fail(session.error(), options.json);
  if (diff) {
    protocol::WorktreeDiff request;
    request.session_id = *session;
    request.bytes_max = kPatchBytesMax;
    const auto read = link.call<protocol::WorktreeDiffResult>(request);
    if (!read) return fail(read.error(), options.json);
    if (options.json)
      print_line(protocol::dump(protocol::to_json(*read)));
    else
      print_patch(read->diff, STDOUT_FILENO, Terminal::detect(STDOUT_FILENO));
    if (read->cut && !options.json)
      print_err(
          "cut: {} files changed, and what is too large is left out; `lares worktrees --json` "
          "names the directory that holds it\n",
          read->n_changed);
    return kExitFinished;
  }
  protocol::WorktreeApply request;
  request.session_id = *session, request.dry_run = dry_run, request.undo = undo;
  const auto done = link.call<protocol::WorktreeApplyResult>(request);
  if (!done) return fail(done.error(), options.json);
  if (options.json)
    print_line(protocol::dump(protocol::to_json(*done)));
  else
    print_out("{}", applied_text(*done, request));
  return kExitFinished;
}

}  // namespace lares::cli
