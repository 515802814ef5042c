#include "tools/snapshots/scan.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <set>
#include <utility>

#include "tools/snapshots/left_out.h"
#include "tools/snapshots/progress.h"
#include "tools/snapshots/stop.h"
#include "tools/workspace/tree_listing.h"

namespace lares::tools {
namespace {

constexpr int kReadsMax = 3;  // of a file that changes while it is read
constexpr std::size_t kToldEvery = 64;                         // files
constexpr std::int64_t kTemporaryNs = 3600ll * 1'000'000'000;  // older ones belong to nobody

}  // namespace

unsigned snapshot_mode(const struct stat& st) {
  if (S_ISLNK(st.st_mode)) return kModeLink;
  const bool program = (st.st_mode & 0100) != 0, is_private = (st.st_mode & 0077) == 0;
  if (is_private) return program ? kModePrivateProgram : kModePrivateFile;
  return program ? kModeProgram : kModeFile;
}

SnapshotScanner::SnapshotScanner(std::string root, SnapshotLimits limits)
    : root_(std::move(root)), limits_(limits), lister_(std::make_unique<TreeLister>(root_)) {}
SnapshotScanner::~SnapshotScanner() = default;
SnapshotScanner::SnapshotScanner(SnapshotScanner&&) noexcept = default;

void SnapshotScanner::leave_out(const std::string& path, std::string why) {
  Snapshot& about = scan_.about;
  ++about.n_left_out;
  if (about.left_out.size() < kSnapshotLeftOutMax) about.left_out.push_back({path, std::move(why)});
}

void SnapshotScanner::not_kept(const std::string& path, const std::string& why) {
  leave_out(path, why);
  if (scan_.about.n_unkept++ == 0) scan_.about.unkept = {path, why};
}

void SnapshotScanner::sweep(const std::vector<std::string>& temporaries) const {
  for (const std::string& path : temporaries) {
    struct stat st {};
    std::string name;
    const auto parent = files_->parent(path, name);
    if (!parent || ::fstatat(parent->get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        S_ISDIR(st.st_mode))
      continue;
    if (nanoseconds(st.st_ctim) < now_ns() - kTemporaryNs)
      ::unlinkat(parent->get(), name.c_str(), 0);
  }
}

// False: it is not in the snapshot, which says so unless it is gone.
bool SnapshotScanner::read(SnapshotStore& store, const std::string& path, std::int64_t started,
                           Known& out) {
  Errno<PlainFile> file = files_->read(path, limits_.file_bytes_max);
  for (int i = 1; file && file->torn && i < kReadsMax; ++i)
    file = files_->read(path, limits_.file_bytes_max);
  if (!file) {
    if (file.error() == EFBIG)
      leave_out(path, fmt::format("larger than {} bytes", limits_.file_bytes_max));
    else if (file.error() != ENOENT)
      leave_out(path, why_not(file.error()));
    return false;
  }
  out.stamp = stamp_of(file->stat);
  out.racy = file->torn || out.stamp.ctime_ns >= started - kRacyNs;
  out.entry = {path, snapshot_mode(file->stat), {}};
  if (git_odb_hash(&out.entry.oid, file->bytes.data(), file->bytes.size(), GIT_OBJECT_BLOB) != 0) {
    leave_out(path, git::last_error());
    return false;
  }
  if (store.has(out.entry.oid)) {
    if (file->torn) leave_out(path, std::string(kReadTorn));
    return true;
  }
  if (store.bytes() + file->bytes.size() > limits_.store_bytes_max) {
    not_kept(path, fmt::format("the snapshots already take the {} bytes that they may",
                               limits_.store_bytes_max));
    return false;
  }
  if (const auto stored = store.put(out.entry.oid, file->bytes, GIT_OBJECT_BLOB); !stored) {
    not_kept(path, stored.error());
    return false;
  }
  scan_.about.bytes_new += file->bytes.size();
  if (file->torn) leave_out(path, std::string(kReadTorn));
  return true;
}

const SnapshotScanner::Known* SnapshotScanner::find(const std::string& path) const {
  const auto at = std::ranges::lower_bound(known_, path, {}, path_of);
  return at != known_.end() && at->entry.path == path ? &*at : nullptr;
}

void SnapshotScanner::add(SnapshotStore& store, const std::string& path, const FileStamp& stamp,
                          std::int64_t started, Known* before) {
  if (before && before->stamp == stamp && !before->racy) {
    now_.push_back(std::move(*before));
    return;
  }
  ++n_read_;
  Known read_now;
  const bool there = read(store, path, started, read_now);
  if (there != (before != nullptr) ||
      (there && (before->entry.mode != read_now.entry.mode ||
                 !git_oid_equal(&before->entry.oid, &read_now.entry.oid))))
    trees_.changed(path);
  if (there) now_.push_back(std::move(read_now));
}

SnapshotResult<SnapshotScan> SnapshotScanner::scan(SnapshotStore& store) {
  auto files = PlainTree::open(root_);
  if (!files)
    return tl::unexpected(fmt::format("take a snapshot of {}: {}", root_, why_not(files.error())));
  files_ = std::make_unique<PlainTree>(std::move(*files));
  if (store.generation() != generation_) {
    known_.clear();
    trees_.forget();
  }
  generation_ = store.generation();
  const std::int64_t started = now_ns();
  ScanTold told(root_);
  auto listing = lister_->list();
  if (!listing) return tl::unexpected("take a snapshot: " + listing.error().message);
  scan_ = {};
  n_read_ = 0;
  now_.clear();
  now_.reserve(listing->files.size());
  auto known = known_.begin();
  const auto went = [&] { trees_.changed((known++)->entry.path); };
  std::size_t n_seen = 0;
  for (const Listed& file : listing->files) {
    if (n_seen++ % kToldEvery == 0) told.at(n_seen - 1, listing->files.size());
    if (snapshots_stop()) {
      known_.clear();
      trees_.forget();
      return tl::unexpected(fmt::format("take a snapshot of {}: the daemon ends", root_));
    }
    while (known != known_.end() && known->entry.path < file.path) went();
    const bool there = known != known_.end() && known->entry.path == file.path;
    if (file.kind == Listed::Kind::submodule) continue;
    if (file.kind == Listed::Kind::special)
      leave_out(file.path, std::string(kNoRegularFile));
    else
      add(store, file.path, file.stamp, started, there ? &*known++ : nullptr);
  }
  told.at(n_seen, listing->files.size());
  while (known != known_.end()) went();
  for (const std::string& directory : listing->products)
    leave_out(directory + "/", "a folder for products, by its name");
  // Last, and only as many as can be named: restoring removes nothing where some are only counted,
  // and of these it could remove none.
  for (const Listed& file : listing->files)
    if (file.kind == Listed::Kind::submodule && scan_.about.left_out.size() < kSnapshotLeftOutMax)
      leave_out(file.path + "/", "a repository of its own");
  kept_out_ = KeptOut::of(lister_->git(), kept_out_);
  scan_.about.kept_out = kept_out_.names();
  std::vector<std::string> missing = listing->left_out;
  if (!kept_out_.unread().empty())
    missing.push_back("what the sparse checkout keeps out is not known: " + kept_out_.unread());
  if (kept_out_.cut())
    missing.push_back(fmt::format("the sparse checkout keeps out more than {} names", kKeptOutMax));
  scan_.about.incomplete = fmt::format("{}", fmt::join(missing, "; "));
  sweep(listing->temporaries);
  entered_ = std::move(listing->entered);
  return finish(store);
}

SnapshotResult<SnapshotScan> SnapshotScanner::scan_with(SnapshotStore& store,
                                                        const std::vector<std::string>& paths) {
  const std::int64_t started = now_ns();
  struct stat st {};
  const auto named = [&](const std::string& path) {
    return std::ranges::any_of(scan_.about.left_out,
                               [&](const PathReason& file) { return file.path == path; });
  };
  for (const std::string& path : std::set(paths.begin(), paths.end())) {
    if (!find(path) && !named(path) && files_->lstat(path, st) && !S_ISDIR(st.st_mode))
      add(store, path, stamp_of(st), started, nullptr);
  }
  std::ranges::move(known_, std::back_inserter(now_));
  std::ranges::sort(now_, {}, path_of);
  return finish(store);
}

SnapshotResult<SnapshotScan> SnapshotScanner::finish(SnapshotStore& store) {
  known_ = std::move(now_);
  now_.clear();
  scan_.about.n_files = known_.size();
  scan_.directories = directories_of(entered_, [this](const std::string& prefix) {
    const auto at = std::ranges::lower_bound(known_, prefix, {}, path_of);
    return at != known_.end() && at->entry.path.starts_with(prefix);
  });
  if (const git_oid* const same = trees_.written()) {
    scan_.tree = *same;
    return scan_;
  }
  std::vector<TreeEntry> entries;
  entries.reserve(known_.size());
  for (const Known& known : known_) entries.push_back(known.entry);
  auto tree = trees_.write(store, entries);
  if (!tree) return tl::unexpected(tree.error());
  scan_.tree = *tree;
  return scan_;
}

SnapshotScanner::Still SnapshotScanner::still(const PlainTree& files,
                                              const std::string& path) const {
  struct stat st {};
  if (!files.lstat(path, st)) return Still::gone;
  const Known* const known = find(path);
  if (!known) return Still::other;
  if (stamp_of(st) == known->stamp && !known->racy) return Still::same;
  return has(files, path, path) ? Still::same : Still::other;
}

bool SnapshotScanner::has(const PlainTree& files, const std::string& path,
                          const std::string& at) const {
  const Known* const known = find(path);
  const auto file = files.read(at, limits_.file_bytes_max);
  git_oid oid;
  return known && file && !file->torn && snapshot_mode(file->stat) == known->entry.mode &&
         git_odb_hash(&oid, file->bytes.data(), file->bytes.size(), GIT_OBJECT_BLOB) == 0 &&
         git_oid_equal(&oid, &known->entry.oid);
}

}  // namespace lares::tools
