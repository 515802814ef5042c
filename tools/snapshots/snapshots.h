// The worktree as it was before every step of the agent that could write, so that files can be
// taken back to any of them.
//
// Snapshots lie in a bare repository of their own for each worktree, below `private_dir`, with
// whole contents and without alternates. A hidden ref in the user's repository was tried: `git log
// --all`, other people's tools and `push --mirror` show it, and .git has to be writable. Borrowing
// the user's objects was tried too: it saves half of the first snapshot, and a gc after a rebase
// takes away what was lent. So the user's repository is only asked which files it tracks and
// ignores; its filters, hooks and monitors have nothing to run on, for bytes go in and come out as
// they are on disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace lares::tools {

// The reason is one line for the user.
template <class T = void>
using SnapshotResult = tl::expected<T, std::string>;

inline constexpr std::uint64_t kSnapshotFileBytesMax = 16 << 20;
inline constexpr std::uint64_t kSnapshotStoreBytesMax = 2ull << 30;  // as it lies on disk
inline constexpr int kSnapshotDaysKept = 14;
inline constexpr std::size_t kSnapshotsKept = 1000;
inline constexpr std::size_t kSnapshotLeftOutMax = 200;  // named; the others are only counted
inline constexpr std::size_t kSnapshotLabelBytesMax = 200;

// What stays where snapshots are given up for their size, so that there is room for the next.
constexpr std::uint64_t snapshot_bytes_kept(std::uint64_t store_bytes_max) {
  return store_bytes_max / 4 * 3;
}

struct Snapshot;

struct SnapshotLimits {
  std::uint64_t file_bytes_max = kSnapshotFileBytesMax;
  // Where it is met, the oldest snapshots are given up, down to snapshot_bytes_kept().
  std::uint64_t store_bytes_max = kSnapshotStoreBytesMax;
  std::function<bool(const Snapshot&)> keep;  // even then; null: none, but for the newest
};

struct PathReason {
  std::string path, why;
};

struct Snapshot {
  std::string id;  // 40 hex digits
  std::string label;
  std::int64_t time_ms = 0;     // since 1970
  std::size_t n_files = 0;      // symlinks included
  std::uint64_t bytes_new = 0;  // of contents that no earlier snapshot had
  // Files that are not in it: too large, unreadable, no regular files. Those that changed while
  // they were read are in it as read, and named here too.
  std::vector<PathReason> left_out;
  std::size_t n_left_out = 0;
  // Of those, the ones that would be in it if the store could take them, and the first of them.
  // Only of one just taken.
  std::size_t n_unkept = 0;
  PathReason unkept;
  // What a sparse checkout kept out of the worktree, files and directories (with a '/'): the
  // snapshot says nothing about them.
  std::vector<std::string> kept_out;
  std::string incomplete;  // why whole directories may be missing; "" when none is
  std::string worktree;    // which it was taken of first, by a name of its own; "": of none
};

struct SnapshotChange {
  enum class Kind : std::uint8_t { added, changed, removed, mode, type };  // type: file and symlink
  std::string path;
  Kind kind = Kind::changed;
  std::uint64_t bytes_before = 0, bytes_after = 0;
  std::string before, after;  // names of the contents, 40 hex digits; "" where there is none
};

// Nothing, unless it says all or names paths; a directory stands for everything below it.
struct Selection {
  bool all = false;
  std::vector<std::string> paths;  // relative to the root
};
// For asking of many paths.
class Selected {
 public:
  explicit Selected(const Selection& selection);
  bool holds(std::string_view path) const;
  bool reaches(std::string_view directory) const;  // holds it, or something below it

 private:
  bool all_;
  std::set<std::string, std::less<>> paths_;
};

// Files, and the snapshot that they go back to.
struct RestoreStep {
  std::string id;
  Selection selection;
};

struct Restored {
  Snapshot before;  // of the moment before; restoring it takes the restoring back
  std::vector<SnapshotChange> done;
  std::vector<PathReason> not_done;  // files that are not as in the snapshot; they are as they were
};

// Three ways: what changed between `base` and `theirs`, brought into `ours`.
struct SnapshotMerge {
  Snapshot merged;                      // where nothing conflicts; restoring its changes does it
  std::vector<SnapshotChange> changes;  // from ours to merged, as restoring does it
  std::vector<PathReason> conflicts;    // then `merged` has no id
  // In ours and not in theirs, which may have them all the same; they stay. Those that theirs names
  // as left out stay too, and are not among these.
  std::vector<PathReason> kept;
};

struct Retention {
  int days = kSnapshotDaysKept;
  std::size_t count = kSnapshotsKept;
  std::uint64_t store_bytes_max = snapshot_bytes_kept(kSnapshotStoreBytesMax);
  // Whatever its age and size; null: none. The newest is always kept
  std::function<bool(const Snapshot&)> keep;
};
struct Pruned {
  std::size_t n_snapshots = 0, n_objects = 0;
  std::uint64_t bytes_freed = 0, bytes_kept = 0;
};

// In place of a snapshot's id: the files as they are now
inline constexpr std::string_view kWorktree = "";

// One thread at a time; blocks on the disk. Other processes may work on the same worktree: calls
// that write wait for each other.
class Snapshots {
 public:
  // `private_dir` is the caller's for all worktrees, outside all of them, and is made where it is
  // missing. `store_of`: the worktree in whose store the snapshots lie, where that is not `root`'s
  // own, so that files which two worktrees have in common lie there once, and one can be made as
  // the other is.
  static SnapshotResult<Snapshots> open(const std::string& root, const std::string& private_dir,
                                        SnapshotLimits limits = SnapshotLimits(),
                                        const std::string& store_of = "");
  ~Snapshots();
  Snapshots(Snapshots&&) noexcept;
  Snapshots& operator=(Snapshots&&) noexcept;

  // Every file git would track (tools/workspace/tree_listing.h), as it lies on disk. Where nothing
  // changed since the last one, the last one, unless one of this label is asked for `anew`.
  SnapshotResult<Snapshot> take(const std::string& label, bool anew = false);
  SnapshotResult<std::vector<Snapshot>> list() const;  // the oldest first
  // In path order. Of kWorktree as restoring does it: not what a sparse checkout took in or out.
  SnapshotResult<std::vector<SnapshotChange>> compare(std::string_view from, std::string_view to);
  // Of one file: unified, at most `bytes_max`; "" when equal or binary.
  SnapshotResult<std::string> diff(std::string_view from, std::string_view to,
                                   const std::string& path, std::size_t bytes_max);
  // Of a file; "" where there is none
  SnapshotResult<std::string> text(std::string_view id, const std::string& path);
  // Makes the selected files as they were, each whole or not at all. A file is replaced or removed
  // only while it is as in Restored::before. An error means that nothing was touched. A file with
  // several names gets one of its own. What a sparse checkout keeps out, or kept out then, neither
  // comes nor goes.
  SnapshotResult<Restored> restore(std::string_view id, const Selection& selection);
  // As restore(), of moments of this very worktree, with one look at it for all steps; of a path
  // that several name, the first counts. No file is removed that may have been there all the same,
  // under another name that no snapshot holds: because it is older than the moment, or because
  // something that was left out then is gone. A step whose snapshot is gone is not done; an error
  // where all are. `dry`: no file is touched, `before` is empty, and `done` is what would be.
  SnapshotResult<Restored> go_back(const std::vector<RestoreStep>& steps, bool dry = false);
  // As dry, but that `before` is taken: going back afterwards has the same one, if nothing changes
  // meanwhile.
  SnapshotResult<Restored> prepare_to_go_back(const std::vector<RestoreStep>& steps);
  // Of snapshots in the same store. No file is touched.
  SnapshotResult<SnapshotMerge> merge(std::string_view base, std::string_view ours,
                                      std::string_view theirs, const std::string& label);
  SnapshotResult<Pruned> prune(const Retention& retention);

 private:
  struct State;
  enum class Going { look, prepare, go };
  explicit Snapshots(std::unique_ptr<State> state);
  SnapshotResult<Restored> go_back(const std::vector<RestoreStep>& steps, Going how);
  std::unique_ptr<State> state_;
};

}  // namespace lares::tools
