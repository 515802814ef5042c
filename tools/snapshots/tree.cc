#include "tools/snapshots/tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace lares::tools {
namespace {

constexpr int kTreeDepthMax = 512;  // above what a listing goes down

struct Child {
  unsigned mode = 0;
  git_oid oid{};
};
struct Sides {
  Child before, after;
};

bool is_tree(const Child& child) { return child.mode == kModeDirectory; }

// Reads both sides of one directory; a side that is no directory has nothing in it.
SnapshotResult<std::map<std::string, Sides>> children(const SnapshotStore& store, const Sides& of) {
  std::map<std::string, Sides> out;
  for (const auto side : {&Sides::before, &Sides::after}) {
    if (!is_tree(of.*side)) continue;
    const auto tree = read_tree(store, (of.*side).oid);
    if (!tree) return tl::unexpected(tree.error());
    for (std::size_t i = 0; i < git_tree_entrycount(tree->get()); ++i) {
      const git_tree_entry* entry = git_tree_entry_byindex(tree->get(), i);
      out[git_tree_entry_name(entry)].*side = {
          static_cast<unsigned>(git_tree_entry_filemode_raw(entry)), *git_tree_entry_id(entry)};
    }
  }
  return out;
}

SnapshotResult<> descend(const SnapshotStore& store, const Sides& of, const std::string& prefix,
                         int depth, const Selected* selected, std::vector<TreeDelta>& out) {
  if (depth > kTreeDepthMax) {
    return tl::unexpected(fmt::format("read a snapshot from {}: deeper than {} directories",
                                      store.path(), kTreeDepthMax));
  }
  const auto both = children(store, of);
  if (!both) return tl::unexpected(both.error());
  for (const auto& [name, sides] : *both) {
    const auto& [before, after] = sides;
    if (before.mode == after.mode && git_oid_equal(&before.oid, &after.oid)) continue;
    const std::string path = prefix + name;
    if (selected && !selected->reaches(path)) continue;
    if (is_tree(before) || is_tree(after)) {
      if (auto below = descend(store, sides, path + "/", depth + 1, selected, out); !below)
        return below;
    }
    if (selected && !selected->holds(path)) continue;
    TreeDelta delta{path, is_tree(before) ? 0 : before.mode, is_tree(after) ? 0 : after.mode,
                    before.oid, after.oid};
    if (delta.mode_before || delta.mode_after) out.push_back(std::move(delta));
  }
  return {};
}

}  // namespace

SnapshotResult<git::Tree> read_tree(const SnapshotStore& store, const git_oid& oid) {
  if (auto whole = store.check(oid); !whole) return tl::unexpected(whole.error());
  git_tree* raw = nullptr;
  if (git_tree_lookup(&raw, store.repository(), &oid) != 0) {
    return tl::unexpected(
        fmt::format("read a snapshot's directory from {}: {}", store.path(), git::last_error()));
  }
  return git::Tree(raw);
}

const git_oid* TreeWriter::written() const {
  const auto root = known_.find("");
  return root == known_.end() ? nullptr : &root->second;
}

void TreeWriter::changed(const std::string& path) {
  if (known_.empty()) return;
  for (std::size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0;
       slash = path.rfind('/', slash - 1))
    known_.erase(path.substr(0, slash + 1));
  known_.erase("");
}

SnapshotResult<git_oid> TreeWriter::write(SnapshotStore& store,
                                          const std::vector<TreeEntry>& entries) {
  auto out = write_directory(store, {entries.data(), entries.data() + entries.size()}, 0);
  if (!out) forget();
  return out;
}

// The order of paths is git's order of names in a tree, for a directory's name counts there with
// its '/'.
SnapshotResult<git_oid> TreeWriter::write_directory(SnapshotStore& store, Range range,
                                                    std::size_t prefix) {
  const std::string path = range.begin == range.end ? "" : range.begin->path.substr(0, prefix);
  if (const auto known = known_.find(path); known != known_.end()) return known->second;
  std::string bytes;
  for (const TreeEntry* at = range.begin; at != range.end;) {
    const std::string_view name = std::string_view(at->path).substr(prefix);
    const std::size_t slash = name.find('/');
    unsigned mode = at->mode;
    git_oid oid = at->oid;
    const TreeEntry* next = at + 1;
    if (slash != std::string_view::npos) {
      const std::string_view directory = std::string_view(at->path).substr(0, prefix + slash + 1);
      next = std::partition_point(
          at, range.end, [&](const TreeEntry& entry) { return entry.path.starts_with(directory); });
      const auto below = write_directory(store, {at, next}, prefix + slash + 1);
      if (!below) return below;
      mode = kModeDirectory;
      oid = *below;
    }
    bytes += fmt::format("{:o} {}", mode, name.substr(0, slash));
    bytes += '\0';
    bytes.append(reinterpret_cast<const char*>(oid.id), GIT_OID_RAWSZ);
    at = next;
  }
  git_oid oid;
  if (git_odb_hash(&oid, bytes.data(), bytes.size(), GIT_OBJECT_TREE) != 0)
    return tl::unexpected(git::last_error());
  if (auto stored = store.put(oid, bytes, GIT_OBJECT_TREE); !stored)
    return tl::unexpected(stored.error());
  return known_[path] = oid;
}

SnapshotResult<std::vector<TreeDelta>> diff_trees(const SnapshotStore& store, const git_oid& before,
                                                  const git_oid& after, const Selected* selected) {
  std::vector<TreeDelta> out;
  if (git_oid_equal(&before, &after)) return out;
  if (auto all = descend(store, {{kModeDirectory, before}, {kModeDirectory, after}}, "", 0,
                         selected, out);
      !all)
    return tl::unexpected(all.error());
  std::ranges::sort(out, {}, &TreeDelta::path);
  return out;
}

bool has_directory(const SnapshotStore& store, const git_oid& root, const std::string& path) {
  git_oid tree = root;
  for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
    const auto directory = read_tree(store, tree);
    if (!directory) return true;
    end = path.find('/', begin);
    const git_tree_entry* entry = git_tree_entry_byname(directory->get(),
                                                        path.substr(begin, end - begin).c_str());
    if (!entry || static_cast<unsigned>(git_tree_entry_filemode_raw(entry)) != kModeDirectory)
      return false;
    tree = *git_tree_entry_id(entry);
  }
  return true;
}

SnapshotResult<TreeEntry> find_in_tree(const SnapshotStore& store, const git_oid& root,
                                       const std::string& path) {
  git_oid tree = root;
  for (std::size_t begin = 0;;) {
    const auto directory = read_tree(store, tree);
    if (!directory) return tl::unexpected(directory.error());
    const std::size_t slash = path.find('/', begin);
    const git_tree_entry* entry = git_tree_entry_byname(directory->get(),
                                                        path.substr(begin, slash - begin).c_str());
    const unsigned mode = entry ? static_cast<unsigned>(git_tree_entry_filemode_raw(entry)) : 0;
    const bool last = slash == std::string::npos;
    if (mode == 0 || last == (mode == kModeDirectory)) return TreeEntry{path, 0, {}};
    tree = *git_tree_entry_id(entry);
    if (last) return TreeEntry{path, mode, tree};
    begin = slash + 1;
  }
}

SnapshotChange describe(const SnapshotStore& store, const TreeDelta& delta) {
  using Kind = SnapshotChange::Kind;
  SnapshotChange out{delta.path,
                     Kind::changed,
                     delta.mode_before ? store.blob_bytes(delta.before) : 0,
                     delta.mode_after ? store.blob_bytes(delta.after) : 0,
                     delta.mode_before ? oid_text(delta.before) : "",
                     delta.mode_after ? oid_text(delta.after) : ""};
  if (!delta.mode_before)
    out.kind = Kind::added;
  else if (!delta.mode_after)
    out.kind = Kind::removed;
  else if ((delta.mode_before == kModeLink) != (delta.mode_after == kModeLink))
    out.kind = Kind::type;
  else if (git_oid_equal(&delta.before, &delta.after))
    out.kind = Kind::mode;
  return out;
}

}  // namespace lares::tools
