#include "tools/snapshots/merge.h"

#include <git2.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "tools/snapshots/tree.h"

namespace lares::tools {
namespace {

bool is_file(unsigned mode) { return mode != 0 && mode != kModeLink; }

struct MergedFile {
  git_merge_file_result result{};
  MergedFile() = default;
  MergedFile(const MergedFile&) = delete;
  ~MergedFile() { git_merge_file_result_free(&result); }
};

struct Sides {
  TreeDelta ours, theirs;  // both from the base
};

// The mode that changed, where one did.
unsigned merged_mode(const Sides& sides) {
  return sides.ours.mode_after != sides.ours.mode_before ? sides.ours.mode_after
                                                         : sides.theirs.mode_after;
}

// Of a file that both sides changed, each in its own way. The reason: why that cannot be.
SnapshotResult<std::string> merged_text(const SnapshotStore& store, const Sides& sides) {
  const bool added = sides.ours.mode_before == 0;
  if (!sides.theirs.mode_after)
    return tl::unexpected(std::string("removed by the session, changed here"));
  if (!sides.ours.mode_after) return tl::unexpected(std::string(kRemovedHere));
  if (!is_file(sides.ours.mode_after) || !is_file(sides.theirs.mode_after) ||
      (!added && !is_file(sides.ours.mode_before)))
    return tl::unexpected(std::string("a link on one side"));
  std::string texts[3];  // base, ours, theirs
  const git_oid oids[] = {sides.ours.before, sides.ours.after, sides.theirs.after};
  for (int i = added ? 1 : 0; i < 3; ++i) {
    if (store.blob_bytes(oids[i]) > kMergedFileBytesMax)
      return tl::unexpected(std::string("changed on both sides, and too large to merge"));
    auto text = store.blob(oids[i]);
    if (!text) return text;
    if (text->find('\0') != std::string::npos)
      return tl::unexpected(std::string("changed on both sides, and no text"));
    texts[i] = std::move(*text);
  }
  if (added) return tl::unexpected(std::string("added on both sides, with other text"));
  git_merge_file_input inputs[3];
  for (int i = 0; i < 3; ++i) {
    git_merge_file_input_init(&inputs[i], GIT_MERGE_FILE_INPUT_VERSION);
    inputs[i].ptr = texts[i].data(), inputs[i].size = texts[i].size();
  }
  MergedFile merged;
  if (git_merge_file(&merged.result, &inputs[0], &inputs[1], &inputs[2], nullptr) != 0)
    return tl::unexpected(git::last_error());
  if (!merged.result.automergeable)
    return tl::unexpected(std::string("the same lines changed on both sides"));
  return std::string(merged.result.ptr, merged.result.len);
}

SnapshotResult<git_oid> put_blob(SnapshotStore& store, std::string_view text) {
  git_oid oid;
  if (git_odb_hash(&oid, text.data(), text.size(), GIT_OBJECT_BLOB) != 0)
    return tl::unexpected(git::last_error());
  if (auto stored = store.put(oid, text, GIT_OBJECT_BLOB); !stored)
    return tl::unexpected(stored.error());
  return oid;
}

// A file where others want a directory: the trees would hold both, no disk does.
void find_files_as_directories(const std::map<std::string, TreeEntry>& files,
                               std::vector<PathReason>& conflicts) {
  for (const auto& [path, entry] : files)
    for (std::size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1))
      if (files.contains(path.substr(0, slash)))
        conflicts.push_back({path, "a file on one side, a directory on the other"});
}

}  // namespace

SnapshotResult<MergedTree> merge_trees(SnapshotStore& store, const ThreeTrees& trees) {
  const auto nothing = TreeWriter().write(store, {});
  if (!nothing) return tl::unexpected(nothing.error());
  const auto all = diff_trees(store, *nothing, trees.ours);
  if (!all) return tl::unexpected(all.error());
  const auto ours = diff_trees(store, trees.base, trees.ours),
             theirs = diff_trees(store, trees.base, trees.theirs);
  if (!ours) return tl::unexpected(ours.error());
  if (!theirs) return tl::unexpected(theirs.error());
  std::map<std::string, TreeEntry> files;
  for (const TreeDelta& file : *all) files[file.path] = {file.path, file.mode_after, file.after};
  std::map<std::string_view, const TreeDelta*> changed;
  for (const TreeDelta& delta : *ours) changed[delta.path] = &delta;

  MergedTree out;
  for (const TreeDelta& delta : *theirs) {
    const auto here = changed.find(delta.path);
    TreeEntry entry{delta.path, delta.mode_after, delta.after};
    if (here != changed.end()) {
      const Sides sides{*here->second, delta};
      const bool same_text = git_oid_equal(&sides.ours.after, &delta.after);
      if (same_text && sides.ours.mode_after == delta.mode_after) continue;
      if (git_oid_equal(&delta.before, &delta.after) || same_text) {  // modes apart
        if (!sides.ours.mode_after || !delta.mode_after || !is_file(sides.ours.mode_after) ||
            !is_file(delta.mode_after)) {
          out.conflicts.push_back({delta.path, "changed on both sides"});
          continue;
        }
        entry = {delta.path, merged_mode(sides), sides.ours.after};
      } else {
        const auto text = merged_text(store, sides);
        if (!text) {
          out.conflicts.push_back({delta.path, text.error()});
          continue;
        }
        const auto oid = put_blob(store, *text);
        if (!oid) return tl::unexpected(oid.error());
        entry = {delta.path, merged_mode(sides), *oid};
      }
    }
    if (entry.mode)
      files[delta.path] = entry;
    else
      files.erase(delta.path);
  }
  find_files_as_directories(files, out.conflicts);
  if (!out.conflicts.empty()) return out;
  std::vector<TreeEntry> entries;
  for (auto& [path, entry] : files) entries.push_back(std::move(entry));
  const auto tree = TreeWriter().write(store, entries);
  if (!tree) return tl::unexpected(tree.error());
  out.tree = *tree;
  return out;
}

}  // namespace lares::tools
