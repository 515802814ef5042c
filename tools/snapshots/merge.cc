#include "tools/snapshots/merge.h"

#include <fmt/format.h>
#include <git2.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tools/snapshots/kept_out.h"
#include "tools/snapshots/left_out.h"
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

// What their snapshots leave open: a file that one of them does not have may be there all the same.
class Unsure {
 public:
  explicit Unsure(const ThreeSnapshots& three)
      : ours_(three.ours.snapshot),
        theirs_(three.theirs.snapshot),
        left_out_of_base_(three.base.snapshot),
        left_out_of_ours_(ours_),
        left_out_of_theirs_(theirs_) {}

  // Of a file that theirs does not have: why it may be no removal, "" where they say so by name
  // anyway; nothing: it was removed.
  std::optional<std::string> of_theirs(const std::string& path) const {
    if (left_out_of_theirs_.find(path)) return "";
    if (names_hold(theirs_.kept_out, path))
      return "outside the session's sparse checkout; it is left as it is here";
    if (!left_out_of_theirs_.names_all())
      return "its snapshot does not name all that it left out, so the session may have it still; "
             "it is left as it is here";
    return std::nullopt;
  }

  // Of a file that theirs has, by a change, and ours does not: why that conflicts; "": it does not.
  std::string of_ours(const TreeDelta& theirs) const {
    const PathReason* here = left_out_of_ours_.find(theirs.path);
    if (here && here->path == theirs.path)
      return fmt::format("no snapshot holds what is here: {}", here->why);
    if (theirs.mode_before && names_hold(ours_.kept_out, theirs.path))
      return "outside the sparse checkout here, changed by the session";
    if (theirs.mode_before) return "removed here, changed by the session";
    const PathReason* then = left_out_of_base_.find(theirs.path);
    if (then && then->path == theirs.path)
      return "removed here, and no snapshot holds what it was when the session began";
    return "";
  }

 private:
  const Snapshot &ours_, &theirs_;
  const LeftOut left_out_of_base_, left_out_of_ours_, left_out_of_theirs_;
};

// Of a file that both sides changed, each in its own way. The reason: why that cannot be.
SnapshotResult<std::string> merged_text(const SnapshotStore& store, const Sides& sides) {
  const bool added = sides.ours.mode_before == 0;
  if (!sides.theirs.mode_after)
    return tl::unexpected(std::string("removed by the session, changed here"));
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

SnapshotResult<MergedTree> merge_trees(SnapshotStore& store, const ThreeSnapshots& three) {
  const auto nothing = TreeWriter().write(store, {});
  if (!nothing) return tl::unexpected(nothing.error());
  const auto all = diff_trees(store, *nothing, three.ours.tree);
  if (!all) return tl::unexpected(all.error());
  const auto ours = diff_trees(store, three.base.tree, three.ours.tree),
             theirs = diff_trees(store, three.base.tree, three.theirs.tree);
  if (!ours) return tl::unexpected(ours.error());
  if (!theirs) return tl::unexpected(theirs.error());
  std::map<std::string, TreeEntry> files;
  for (const TreeDelta& file : *all) files[file.path] = {file.path, file.mode_after, file.after};
  std::map<std::string_view, const TreeDelta*> changed;
  for (const TreeDelta& delta : *ours) changed[delta.path] = &delta;

  const Unsure unsure(three);
  MergedTree out;
  for (const TreeDelta& delta : *theirs) {
    const bool is_here = files.contains(delta.path);
    if (const auto why = delta.mode_after ? std::nullopt : unsure.of_theirs(delta.path)) {
      if (is_here && !why->empty()) out.kept.push_back({delta.path, *why});
      continue;
    }
    if (auto why = delta.mode_after && !is_here ? unsure.of_ours(delta) : ""; !why.empty()) {
      out.conflicts.push_back({delta.path, std::move(why)});
      continue;
    }
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
