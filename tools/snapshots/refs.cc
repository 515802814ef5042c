// The snapshots in the store: a commit without parents each, so that every one can go alone, and a
// numbered ref that keeps it.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tools/snapshots/store.h"
#include "tools/text.h"
#include "tools/workspace/file_stamp.h"

namespace lares::tools {
namespace {

constexpr char kRefPrefix[] = "refs/lares/snapshots/";
constexpr unsigned kRefTriesMax = 100;
constexpr char kAllRefs[] = "refs/lares/snapshots/*";

tl::unexpected<std::string> failed_in_git(const std::string& what, const std::string& path) {
  return tl::unexpected(fmt::format("{} {}: {}", what, path, git::last_error()));
}

}  // namespace

SnapshotResult<std::vector<std::string>> SnapshotStore::refs() const {
  std::vector<std::string> out;
  git_reference_iterator* raw = nullptr;
  if (git_reference_iterator_glob_new(&raw, repository_.get(), kAllRefs) != 0)
    return failed_in_git("list the snapshots in", path_);
  const git::Owned<git_reference_iterator, git_reference_iterator_free> iterator(raw);
  const char* name = nullptr;
  while (git_reference_next_name(&name, raw) == 0) out.emplace_back(name);
  std::ranges::sort(out);
  return out;
}

SnapshotResult<StoredSnapshot> SnapshotStore::read(const git_oid& id) const {
  if (const auto known = read_.find(id); known != read_.end()) return known->second;
  if (auto whole = check(id); !whole) return tl::unexpected(whole.error());
  git_commit* raw = nullptr;
  if (git_commit_lookup(&raw, repository_.get(), &id) != 0)
    return failed_in_git("read a snapshot from", path_);
  const git::Commit commit(raw);
  StoredSnapshot out;
  out.tree = *git_commit_tree_id(raw);
  out.snapshot.id = oid_text(id);
  // Another version's, whose files are as good
  if (!read_note(git_commit_message_raw(raw), out.snapshot, out.directories)) {
    out.snapshot.incomplete = "its note cannot be read";
    out.directories = {};
    out.snapshot.time_ms = git_commit_time(raw) * 1000;
  }
  return read_[id] = out;
}

SnapshotResult<std::vector<StoredSnapshot>> SnapshotStore::list() const {
  const auto names = refs();
  if (!names) return tl::unexpected(names.error());
  std::vector<StoredSnapshot> out;
  for (const std::string& name : *names) {
    git_oid id;
    if (git_reference_name_to_id(&id, repository_.get(), name.c_str()) != 0) continue;
    if (auto stored = read(id)) {
      stored->ref = name;
      out.push_back(std::move(*stored));
    }
  }
  return out;
}

SnapshotResult<StoredSnapshot> SnapshotStore::find(std::string_view id) const {
  git_oid oid;
  const auto names = refs();
  if (!names) return tl::unexpected(names.error());
  const auto is_of = [&](const std::string& name) {
    git_oid at;
    if (git_reference_name_to_id(&at, repository_.get(), name.c_str()) != 0) return false;
    refs_[at] = name;
    return git_oid_equal(&at, &oid) != 0;
  };
  if (id.size() == GIT_OID_HEXSZ && git_oid_fromstrn(&oid, id.data(), id.size()) == 0) {
    const auto known = refs_.find(oid);
    std::string ref = known == refs_.end() ? "" : known->second;
    if (ref.empty() || !is_of(ref)) {
      const auto name = std::ranges::find_if(*names, is_of);
      ref = name == names->end() ? "" : *name;
    }
    if (!ref.empty()) {
      auto stored = read(oid);
      if (stored) stored->ref = ref;
      return stored;
    }
  }
  const std::string asked = to_utf8(id.substr(0, GIT_OID_HEXSZ));
  return tl::unexpected(fmt::format(
      "there is no snapshot {}; it may have been given up, for its age or to make room", asked));
}

SnapshotResult<StoredSnapshot> SnapshotStore::newest() const {
  const auto names = refs();
  if (!names) return tl::unexpected(names.error());
  for (auto name = names->rbegin(); name != names->rend(); ++name) {
    git_oid id;
    if (git_reference_name_to_id(&id, repository_.get(), name->c_str()) != 0) continue;
    auto stored = read(id);
    if (!stored) continue;
    stored->ref = *name;
    return stored;
  }
  StoredSnapshot none{names->empty() ? "" : names->back(), {}, {}, {}};
  return none;
}

// The time of the ref's own file, where a gc did not pack it.
void SnapshotStore::saw(const StoredSnapshot& stored) const {
  ::utimensat(AT_FDCWD, (path_ + "/" + stored.ref).c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

std::int64_t SnapshotStore::seen_ns(const StoredSnapshot& stored) const {
  struct stat st {};
  return ::lstat((path_ + "/" + stored.ref).c_str(), &st) == 0
             ? nanoseconds(st.st_mtim)
             : stored.snapshot.time_ms * 1'000'000;
}

SnapshotResult<Snapshot> SnapshotStore::add(const git_oid& tree, Snapshot snapshot,
                                            const SnapshotDirectories& directories) {
  const std::string note = write_note(snapshot, directories);
  const auto names = refs();
  if (!names) return tl::unexpected(names.error());
  const std::string last = names->empty() ? "0" : names->back().substr(sizeof kRefPrefix - 1);
  for (unsigned long long number = std::strtoull(last.c_str(), nullptr, 10) + 1,
                          end = number + kRefTriesMax;
       number < end; ++number) {
    const auto id = write_commit(tree, note, snapshot.time_ms, number);
    if (!id) return tl::unexpected(id.error());
    const int named = name_commit(fmt::format("{}{:010}", kRefPrefix, number), *id);
    if (named == GIT_EEXISTS) continue;  // one that cannot be read, and so was not listed
    if (named != 0) return failed_in_git("name a snapshot in", path_);
    snapshot.id = oid_text(*id);
    return snapshot;
  }
  return failed_in_git("name a snapshot in", path_);
}

// The number is in it, so that two of one moment are two.
SnapshotResult<git_oid> SnapshotStore::write_commit(const git_oid& tree, const std::string& note,
                                                    std::int64_t time_ms,
                                                    unsigned long long number) {
  const std::string who = fmt::format("lares <lares@localhost> {} +0000", time_ms / 1000);
  const std::string text = fmt::format("tree {}\nauthor {}\ncommitter {}\n\n{}number {}\n",
                                       oid_text(tree), who, who, note, number);
  git_oid id;
  if (git_odb_hash(&id, text.data(), text.size(), GIT_OBJECT_COMMIT) != 0)
    return failed_in_git("write a snapshot to", path_);
  if (auto stored = put(id, text, GIT_OBJECT_COMMIT); !stored)
    return tl::unexpected(stored.error());
  if (auto synced = sync(); !synced) return tl::unexpected(synced.error());
  return id;
}

int SnapshotStore::name_commit(const std::string& name, const git_oid& id) const {
  git_reference* raw = nullptr;
  int made = git_reference_create(&raw, repository_.get(), name.c_str(), &id, 0, nullptr);
  if (made == GIT_ELOCKED) {  // by a process that died, for we hold the lock
    sweep();
    made = git_reference_create(&raw, repository_.get(), name.c_str(), &id, 0, nullptr);
  }
  const git::Reference reference(made == 0 ? raw : nullptr);
  return made;
}

SnapshotResult<> SnapshotStore::remove(const std::string& ref) {
  if (const int gone = git_reference_remove(repository_.get(), ref.c_str());
      gone != 0 && gone != GIT_ENOTFOUND) {
    return failed_in_git("give up a snapshot in", path_);
  }
  return {};
}

SnapshotResult<> SnapshotStore::sync_refs() const {
  const std::string path = path_ + "/refs/lares/snapshots";
  const Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const int error = fd && ::fsync(fd.get()) == 0 ? 0 : errno;
  if (error && error != ENOENT)
    return tl::unexpected(fmt::format("sync {}: {}", path, std::strerror(error)));
  return {};
}

}  // namespace lares::tools
