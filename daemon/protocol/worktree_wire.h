// The part of the protocol that is about sessions in git worktrees of their own, and its JSON; see
// protocol.h and wire.h.
//
// session/create takes `worktree`: it makes a linked worktree below the state directory, at the
// repository's HEAD, on a new branch lares/<slug of the title>-<part of the session's id>.
// Uncommitted changes come along, new files included, ignored ones not. The repository's own
// worktree, index, HEAD and stash stay as they are. Errors: not_found where there is no git
// repository, internal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/protocol/wire.h"

namespace lares::daemon::protocol {

// session/create, the whole of it.
struct WorktreeCreate {
  static constexpr std::string_view kMethod = SessionCreate::kMethod;
  SessionCreate create;
  bool worktree = false;
};
struct WorktreeCreated {  // its result: a SessionInfo, and of a session in a worktree
  SessionInfo session;
  std::string worktree_of, branch;
};

struct WorktreeInfo {
  std::string session_id, title, state;  // title and state empty: its session is not known here
  std::string root, worktree_of, branch;
  bool closed = false;  // the session
  bool gone = false;    // somebody removed the directory
  // Its files are as neither its branch has them, nor as they began, nor as they were applied
  bool uncommitted = false;
  std::int64_t n_changed = 0;  // files, since it began
  std::int64_t began_ms = 0;
  bool applied = false;  // and not taken back
};
// Those of a repository; root empty: all. Newest first.
struct WorktreeList {
  static constexpr std::string_view kMethod = "worktree/list";
  std::string root;  // resolved as by repo/open
};
struct WorktreeListResult {
  std::vector<WorktreeInfo> worktrees;
};

// Closes the session and removes its worktree. Errors: busy while a turn runs; conflict where work
// would be lost, without `force`.
struct WorktreeRemove {
  static constexpr std::string_view kMethod = "worktree/remove";
  std::string session_id;
  bool branch = false;  // its branch too
  bool force = false;
};
struct WorktreeRemoveResult {
  std::string root, branch;
  bool branch_removed = false;
};

// What a worktree has since it began, as a unified diff, file by file in path order.
struct WorktreeDiff {
  static constexpr std::string_view kMethod = "worktree/diff";
  std::string session_id;
  std::int64_t bytes_max = 256 << 10;
};
struct WorktreeDiffResult {
  std::string diff;
  bool cut = false;
  std::int64_t n_changed = 0, n_added = 0, n_deleted = 0;
};

// Brings that into the repository's worktree, three ways, as uncommitted changes: all of it or
// nothing. Errors: conflict, with the files where both sides changed the same lines; busy.
struct WorktreeApply {
  static constexpr std::string_view kMethod = "worktree/apply";
  std::string session_id;
  bool dry_run = false;
  bool undo = false;  // takes the last applying back
};
struct WorktreeApplyResult {
  std::string worktree_of;
  std::vector<RewindChange> changes;     // of the repository's worktree
  std::vector<SkippedFile> not_brought;  // files that no snapshot holds, such as very large ones
};

// Runs the session's tests in the sandbox, without the model: its test runner, or `command`. A turn
// must not run: busy.
struct SessionTest {
  static constexpr std::string_view kMethod = "session/test";
  std::string session_id;
  std::string command;  // empty: found as the tool `test` finds it
};
struct SessionTestResult {
  bool ran = false, passed = false;
  bool counted = false;  // total, failed and skipped are known
  std::int64_t total = 0, failed = 0, skipped = 0;
  std::string summary;
};

template <class V>
void fields(V& v, WorktreeCreate& x) {
  fields(v, x.create);
  v.o("worktree", x.worktree);
}
template <class V>
void fields(V& v, WorktreeCreated& x) {
  fields(v, x.session);
  v.o("worktreeOf", x.worktree_of);
  v.o("branch", x.branch);
}
template <class V>
void fields(V& v, WorktreeInfo& x) {
  v.r("sessionId", x.session_id);
  v.o("title", x.title);
  v.o("state", x.state);
  v.r("root", x.root);
  v.r("worktreeOf", x.worktree_of);
  v.r("branch", x.branch);
  v.o("closed", x.closed);
  v.o("gone", x.gone);
  v.o("uncommitted", x.uncommitted);
  v.o("nChanged", x.n_changed);
  v.o("beganMs", x.began_ms);
  v.o("applied", x.applied);
}
template <class V>
void fields(V& v, WorktreeList& x) {
  v.o("root", x.root);
}
template <class V>
void fields(V& v, WorktreeListResult& x) {
  v.o("worktrees", x.worktrees);
}
template <class V>
void fields(V& v, WorktreeRemove& x) {
  v.r("sessionId", x.session_id);
  v.o("branch", x.branch);
  v.o("force", x.force);
}
template <class V>
void fields(V& v, WorktreeRemoveResult& x) {
  v.r("root", x.root);
  v.r("branch", x.branch);
  v.o("branchRemoved", x.branch_removed);
}
template <class V>
void fields(V& v, WorktreeDiff& x) {
  v.r("sessionId", x.session_id);
  v.o("bytesMax", x.bytes_max);
}
template <class V>
void fields(V& v, WorktreeDiffResult& x) {
  v.o("diff", x.diff);
  v.o("cut", x.cut);
  v.o("nChanged", x.n_changed);
  v.o("nAdded", x.n_added);
  v.o("nDeleted", x.n_deleted);
}
template <class V>
void fields(V& v, WorktreeApply& x) {
  v.r("sessionId", x.session_id);
  v.o("dryRun", x.dry_run);
  v.o("undo", x.undo);
}
template <class V>
void fields(V& v, WorktreeApplyResult& x) {
  v.r("worktreeOf", x.worktree_of);
  v.o("changes", x.changes);
  v.o("notBrought", x.not_brought);
}
template <class V>
void fields(V& v, SessionTest& x) {
  v.r("sessionId", x.session_id);
  v.o("command", x.command);
}
template <class V>
void fields(V& v, SessionTestResult& x) {
  v.r("ran", x.ran);
  v.r("passed", x.passed);
  v.o("counted", x.counted);
  v.o("total", x.total);
  v.o("failed", x.failed);
  v.o("skipped", x.skipped);
  v.o("summary", x.summary);
}

}  // namespace lares::daemon::protocol
