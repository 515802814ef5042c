// Giving up snapshots: refs first, made durable, then the objects that no other snapshot needs. A
// crash between leaves objects too many, which the next one takes. Packs, which only somebody's git
// can have made here, are neither counted nor taken.
#include <unistd.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "tools/snapshots/store.h"
#include "tools/snapshots/tree.h"

namespace lares::tools {
namespace {

constexpr std::int64_t kDayMs = 24ll * 3600 * 1000;

using Oids = std::unordered_set<git_oid, OidHash, OidEqual>;
struct Loose {
  std::string path;
  std::uint64_t bytes = 0;
};
using Objects = std::unordered_map<git_oid, Loose, OidHash, OidEqual>;

class Marker {
 public:
  Marker(const SnapshotStore& store, const Objects& objects) : store_(store), objects_(objects) {}

  // What a snapshot needs beyond what is marked already. Nothing of a tree that is marked is looked
  // at again.
  SnapshotResult<std::uint64_t> cost(const StoredSnapshot& stored, Oids& fresh) {
    git_oid commit;
    if (git_oid_fromstr(&commit, stored.snapshot.id.c_str()) != 0)
      return tl::unexpected(git::last_error());
    std::uint64_t bytes = count(commit, fresh);
    if (auto below = count_tree(stored.tree, fresh, bytes); !below)
      return tl::unexpected(below.error());
    return bytes;
  }
  void mark(const Oids& fresh) { marked_.insert(fresh.begin(), fresh.end()); }
  bool is_marked(const git_oid& oid) const { return marked_.contains(oid); }

 private:
  std::uint64_t count(const git_oid& oid, Oids& fresh) {
    if (marked_.contains(oid) || !fresh.insert(oid).second) return 0;
    const auto object = objects_.find(oid);
    return object == objects_.end() ? 0 : object->second.bytes;
  }
  SnapshotResult<> count_tree(const git_oid& oid, Oids& fresh, std::uint64_t& bytes) {
    if (marked_.contains(oid) || fresh.contains(oid)) return {};
    bytes += count(oid, fresh);
    const auto tree = read_tree(store_, oid);
    if (!tree) return tl::unexpected(tree.error());
    for (std::size_t i = 0; i < git_tree_entrycount(tree->get()); ++i) {
      const git_tree_entry* entry = git_tree_entry_byindex(tree->get(), i);
      if (git_tree_entry_filemode_raw(entry) != static_cast<git_filemode_t>(kModeDirectory)) {
        bytes += count(*git_tree_entry_id(entry), fresh);
      } else if (auto below = count_tree(*git_tree_entry_id(entry), fresh, bytes); !below) {
        return below;
      }
    }
    return {};
  }

  const SnapshotStore& store_;
  const Objects& objects_;
  Oids marked_;
};

// Refs that name nothing which could be read: of a damaged store.
SnapshotResult<std::vector<std::string>> broken_refs(const SnapshotStore& store,
                                                     const std::vector<StoredSnapshot>& all) {
  auto out = store.refs();
  if (out)
    std::erase_if(*out, [&](const std::string& ref) {
      return std::ranges::find(all, ref, &StoredSnapshot::ref) != all.end();
    });
  return out;
}

// The newest and the ones to keep whatever they cost come first, then the others from new to old.
struct Ranked {
  const StoredSnapshot* stored;
  bool must_stay;
};
std::vector<Ranked> ranked(const std::vector<StoredSnapshot>& all, const Retention& retention) {
  std::vector<Ranked> out;
  for (auto stored = all.rbegin(); stored != all.rend(); ++stored) {
    out.push_back(
        {&*stored, stored == all.rbegin() || (retention.keep && retention.keep(stored->snapshot))});
  }
  std::ranges::stable_partition(out, &Ranked::must_stay);
  return out;
}

}  // namespace

SnapshotResult<Pruned> prune_store(SnapshotStore& store, const Fd& lock, const Retention& retention,
                                   std::int64_t now_ms) {
  const auto all = store.list();
  if (!all) return tl::unexpected(all.error());
  Objects objects;
  for_each_loose(store.path(),
                 [&](const git_oid& oid, const std::string& path, std::uint64_t bytes) {
                   objects[oid] = {path, bytes};
                 });
  Marker marker(store, objects);
  Pruned out;
  auto given_up = broken_refs(store, *all);
  if (!given_up) return tl::unexpected(given_up.error());
  std::size_t n_kept = 0;
  bool full = false;
  for (const auto& [stored, must_stay] : ranked(*all, retention)) {
    const bool old = stored->snapshot.time_ms < now_ms - retention.days * kDayMs ||
                     n_kept >= retention.count;
    if (!must_stay && (old || full)) {
      given_up->push_back(stored->ref);
      continue;
    }
    Oids fresh;
    const auto bytes = marker.cost(*stored, fresh);
    if (!bytes && !(retention.keep && retention.keep(stored->snapshot))) {  // damaged, and nobody's
      given_up->push_back(stored->ref);
      continue;
    }
    if (!must_stay && out.bytes_kept + *bytes > retention.store_bytes_max) {
      full = true;
      given_up->push_back(stored->ref);
      continue;
    }
    marker.mark(fresh);
    out.bytes_kept += bytes.value_or(0);
    ++n_kept;
  }
  if (auto changed = store.change_generation(lock); !changed)
    return tl::unexpected(changed.error());
  for (const std::string& ref : *given_up) {
    if (auto removed = store.remove(ref); !removed) return tl::unexpected(removed.error());
    ++out.n_snapshots;
  }
  if (auto synced = store.sync_refs(); !synced) return tl::unexpected(synced.error());
  for (const auto& [oid, object] : objects) {
    if (marker.is_marked(oid) || ::unlink(object.path.c_str()) != 0) continue;
    ++out.n_objects;
    out.bytes_freed += object.bytes;
  }
  store.recount(out.bytes_kept);
  return out;
}

}  // namespace lares::tools
