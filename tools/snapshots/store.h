// The bare repository that holds one worktree's snapshots: objects, and a ref for each snapshot.
// Written so that a crash leaves what was there before: objects first, made durable, then the ref.
#pragma once

#include <git2.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tools/fd.h"
#include "tools/git/repo.h"
#include "tools/snapshots/directories.h"
#include "tools/snapshots/snapshots.h"

namespace lares::tools {

std::string oid_text(const git_oid& oid);  // 40 hex digits
struct OidHash {
  std::size_t operator()(const git_oid& oid) const;
};
struct OidEqual {
  bool operator()(const git_oid& a, const git_oid& b) const { return git_oid_equal(&a, &b); }
};

struct StoredSnapshot {
  std::string ref;
  git_oid tree;
  Snapshot snapshot;
  SnapshotDirectories directories;
};

class SnapshotStore {
 public:
  static SnapshotResult<SnapshotStore> open(const std::string& root,
                                            const std::string& private_dir);

  // Alone in the store while it lives. Makes the store anew where somebody removed it.
  SnapshotResult<Fd> lock();
  // Changes when objects may have gone, so that what was remembered of them is worth nothing. Valid
  // under the lock.
  const std::string& generation() const { return generation_; }
  SnapshotResult<> change_generation(const Fd& lock);

  bool has(const git_oid& oid) const;
  // Not durable before sync(). Until then the lock's file says that what lies here may be empty
  // after a power cut; whoever finds that said, locking, looks at every object.
  SnapshotResult<> put(const git_oid& oid, std::string_view bytes, git_object_t type);
  SnapshotResult<> sync();
  // To be asked before libgit2 reads an object: 1.5 waits for ever for the rest of one that was cut
  // short.
  SnapshotResult<> check(const git_oid& oid) const;
  SnapshotResult<std::string> blob(const git_oid& oid) const;
  std::uint64_t blob_bytes(const git_oid& oid) const;  // 0 where there is none

  // The oldest first.
  SnapshotResult<std::vector<std::string>> refs() const;
  // A ref that cannot be read is left out.
  SnapshotResult<std::vector<StoredSnapshot>> list() const;
  SnapshotResult<StoredSnapshot> find(std::string_view id) const;
  SnapshotResult<StoredSnapshot> newest() const;  // an empty id: there is none
  // The worktree is once more, or still, as in a snapshot; and when it last was, as far as is
  // known.
  void saw(const StoredSnapshot& stored) const;
  std::int64_t seen_ns(const StoredSnapshot& stored) const;
  SnapshotResult<Snapshot> add(const git_oid& tree, Snapshot snapshot,
                               const SnapshotDirectories& directories = SnapshotDirectories());
  SnapshotResult<> remove(const std::string& ref);
  SnapshotResult<> sync_refs() const;

  git_repository* repository() const { return repository_.get(); }
  const std::string& path() const { return path_; }
  std::uint64_t bytes();  // of loose objects, about: a crash may leave some uncounted
  // Under the lock, after objects were deleted.
  void recount(std::uint64_t bytes);

 private:
  SnapshotResult<> make_directory() const;
  SnapshotResult<> make_repository();
  SnapshotResult<Fd> open_lock() const;
  SnapshotResult<> read_generation(const Fd& lock);
  SnapshotResult<> remove_damaged(const Fd& lock);
  SnapshotResult<> sync_all() const;
  SnapshotResult<> mark_unsynced();
  void write_bytes() const;
  void sweep() const;
  SnapshotResult<StoredSnapshot> read(const git_oid& commit) const;
  SnapshotResult<git_oid> write_commit(const git_oid& tree, const std::string& note,
                                       std::int64_t time_ms, unsigned long long number);
  int name_commit(const std::string& name, const git_oid& id) const;  // libgit2's result
  std::string object_path(const git_oid& oid) const;

  std::string private_dir_, path_, generation_;
  git::Repository repository_;
  git_odb_backend *loose_ = nullptr, *packed_ = nullptr;  // the repository's
  std::vector<std::string> unsynced_;
  bool marked_ = false;      // the lock's file says that there are some, and they are ours
  std::int64_t bytes_ = -1;  // not counted yet
  mutable std::unordered_map<git_oid, StoredSnapshot, OidHash, OidEqual> read_;  // by commit
  mutable std::unordered_map<git_oid, std::string, OidHash, OidEqual> refs_;     // as last seen
};

// Calls `each(oid, path, bytes on disk)` for every loose object.
void for_each_loose(
    const std::string& store,
    const std::function<void(const git_oid&, const std::string&, std::uint64_t)>& each);

// Deletes what `retention` gives up; the lock is held.
SnapshotResult<Pruned> prune_store(SnapshotStore& store, const Fd& lock, const Retention& retention,
                                   std::int64_t now_ms);

// The commit message of a snapshot and back.
std::string write_note(const Snapshot& snapshot, const SnapshotDirectories& directories);
bool read_note(std::string_view message, Snapshot& out, SnapshotDirectories& directories);

}  // namespace lares::tools
