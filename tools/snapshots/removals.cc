#include "tools/snapshots/removals.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace lares::tools {
namespace {

using Oids = std::unordered_set<git_oid, OidHash, OidEqual>;

// What cannot be read is not in it: then a file stays that might go.
void add_contents(const SnapshotStore& store, const git_oid& directory, Oids& out) {
  const auto tree = read_tree(store, directory);
  if (!tree) return;
  for (std::size_t i = 0; i < git_tree_entrycount(tree->get()); ++i) {
    const git_tree_entry* entry = git_tree_entry_byindex(tree->get(), i);
    const git_oid& oid = *git_tree_entry_id(entry);
    if (git_tree_entry_filemode_raw(entry) == static_cast<git_filemode_t>(kModeDirectory))
      add_contents(store, oid, out);
    else
      out.insert(oid);
  }
}

std::int64_t nanoseconds_of(const statx_timestamp& t) {
  return t.tv_sec * 1'000'000'000 + static_cast<std::int64_t>(t.tv_nsec);
}

std::optional<struct statx> about(const PlainTree& files, const std::string& path) {
  std::string name;
  const auto parent = files.parent(path, name);
  struct statx out {};
  if (!parent || ::statx(parent->get(), name.c_str(), AT_SYMLINK_NOFOLLOW,
                         STATX_BTIME | STATX_MTIME, &out) != 0)
    return std::nullopt;
  return out;
}
bool tells_birth(const struct statx& stx) { return (stx.stx_mask & STATX_BTIME) != 0; }

}  // namespace

Removals::Removals(const SnapshotStore& store, const PlainTree& files, const RestoreTarget& target)
    : store_(store),
      files_(files),
      target_(target),
      left_out_(target.snapshot->snapshot),
      stay_(target.stay.begin(), target.stay.end()) {
  if (target_.moment_ns == 0) return;
  const auto& all = left_out_.all();
  const auto gone = std::ranges::find_if(all, [&](const auto& one) { return is_gone(one.second); });
  if (gone != all.end()) gone_ = gone->first;
}

std::string Removals::why_not(const TreeDelta& delta) {
  if (left_out_.find(delta.path))
    return "was there, but left out of the snapshot for its size or kind";
  if (stay_.contains(delta.path))
    return "was outside the sparse checkout then, and was changed since; it is left as it is now";
  if (!left_out_.names_all())
    return "the snapshot does not name all that it left out, so nothing is removed; remove it by "
           "hand";
  if (!gone_.empty())
    return fmt::format(
        "no snapshot holds {}, which was there then and is not now, so this may be what became of "
        "it; remove it by hand",
        gone_);
  if (target_.moment_ns != 0 && is_older(delta.path) && !holds_content(delta.before))
    return "is older than the snapshot that does not have it, so it was there under another name; "
           "remove it by hand";
  return "";
}

// Moved or removed since. What is no regular file holds nothing, and what changed while it was read
// is in the snapshot.
bool Removals::is_gone(const PathReason& left_out) const {
  if (left_out.why == kNoRegularFile || left_out.why == kReadTorn) return false;
  std::string path = left_out.path;
  while (path.ends_with('/')) path.pop_back();
  struct stat st {};
  return !files_.lstat(path, st);
}

// By when it was made, which stays with a file that is moved; where the file system does not know
// that, by when it was written.
bool Removals::is_older(const std::string& path) const {
  const auto stx = about(files_, path);
  if (!stx) return false;  // it is gone
  return nanoseconds_of(tells_birth(*stx) ? stx->stx_btime : stx->stx_mtime) < target_.moment_ns;
}

// Where the snapshot does not tell, by when it was made; when it was written says nothing, for the
// file that went wrote it. One that was moved here by a call then stays, empty as it is.
bool Removals::had_directory(const std::string& path) const {
  const StoredSnapshot& then = *target_.snapshot;
  if (has_directory(store_, then.tree, path)) return true;
  if (then.directories.known()) {
    const SnapshotDirectory* const named = then.directories.find(path);
    return named && named->empty;
  }
  if (target_.moment_ns == 0) return false;
  const auto stx = about(files_, path);
  return stx && (!tells_birth(*stx) || nanoseconds_of(stx->stx_btime) < target_.moment_ns);
}

std::string Room::why_none(const std::string& path) const {
  struct stat st {};
  std::string name;
  const auto parent = files_.parent(path, name);
  if (parent)
    return files_.lstat(path, st) && S_ISDIR(st.st_mode) && !goes(path) ? kDirectoryInPlace : "";
  if (parent.error() == ENOENT) return "";
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1))
    if (gone_.contains(path.substr(0, slash))) return "";
  return lares::tools::why_not(parent.error());
}

// Something goes from it, and nothing stays in it. An empty one stays, for nobody empties it.
bool Room::goes(const std::string& directory) const {
  auto fd = files_.open_directory(directory);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(fd ? ::fdopendir(fd->get()) : nullptr,
                                                    ::closedir);
  if (!entries) return false;
  (void)fd->release();
  std::vector<std::string> below;
  bool any = false;
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    any = true;
    std::string path = directory + "/" + std::string(name);
    if (gone_.contains(path)) continue;
    struct stat st {};
    if (!files_.lstat(path, st) || !S_ISDIR(st.st_mode)) return false;
    below.push_back(std::move(path));
  }
  return any && std::ranges::all_of(below, [&](const std::string& path) { return goes(path); });
}

// One of the snapshot's own files under another name is no loss.
bool Removals::holds_content(const git_oid& oid) {
  if (!contents_) add_contents(store_, target_.snapshot->tree, contents_.emplace());
  return contents_->contains(oid);
}

}  // namespace lares::tools
