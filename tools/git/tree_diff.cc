#include "tools/git/tree_diff.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace lares::tools::git {
namespace {

// What differs, files and whole directories; false where it cannot be told, or is too much.
class Changed {
 public:
  explicit Changed(git_repository* repo) : repo_(repo) {}
  bool add(const git_tree* from, const git_tree* to, const std::string& prefix) {
    for (std::size_t i = 0; i < git_tree_entrycount(to); ++i) {
      const git_tree_entry* now = git_tree_entry_byindex(to, i);
      const char* const name = git_tree_entry_name(now);
      if (!add_entry(git_tree_entry_byname(from, name), now, prefix + name)) return false;
    }
    for (std::size_t i = 0; i < git_tree_entrycount(from); ++i) {
      const char* const name = git_tree_entry_name(git_tree_entry_byindex(from, i));
      if (!git_tree_entry_byname(to, name) && !add_path(prefix + name)) return false;
    }
    return true;
  }
  std::vector<std::string>& paths() { return paths_; }

 private:
  bool add_entry(const git_tree_entry* was, const git_tree_entry* now, const std::string& path) {
    if (was && git_oid_equal(git_tree_entry_id(was), git_tree_entry_id(now)) &&
        git_tree_entry_filemode_raw(was) == git_tree_entry_filemode_raw(now))
      return true;
    if (!was || git_tree_entry_type(was) != GIT_OBJECT_TREE ||
        git_tree_entry_type(now) != GIT_OBJECT_TREE)
      return add_path(path);
    git_tree *raw_was = nullptr, *raw_now = nullptr;
    if (git_tree_lookup(&raw_was, repo_, git_tree_entry_id(was)) != 0) return false;
    const Tree tree_was(raw_was);
    if (git_tree_lookup(&raw_now, repo_, git_tree_entry_id(now)) != 0) return false;
    const Tree tree_now(raw_now);
    return add(raw_was, raw_now, path + "/");
  }
  // libgit2 reads some characters as a pattern's, of directories at least.
  bool add_path(const std::string& path) {
    if (paths_.size() == kChangedPathsMax || path.find_first_of("!\\*?[:#") != std::string::npos)
      return false;
    paths_.push_back(path);
    return true;
  }

  git_repository* repo_;
  std::vector<std::string> paths_;
};

}  // namespace

GitResult<Diff> diff_trees(git_repository* repo, git_tree* from, git_tree* to,
                           const git_diff_options& options) {
  git_diff_options of_changed = options;
  Changed changed(repo);
  std::vector<char*> pointers;
  if (options.pathspec.count == 0 && from && to && changed.add(from, to, "")) {
    if (changed.paths().empty()) changed.paths().emplace_back(".git");  // which no tree has
    for (std::string& path : changed.paths()) pointers.push_back(path.data());
    of_changed.pathspec = {pointers.data(), pointers.size()};
    of_changed.flags |= GIT_DIFF_DISABLE_PATHSPEC_MATCH;
  }
  git_diff* raw = nullptr;
  if (git_diff_tree_to_tree(&raw, repo, from, to, &of_changed) != 0)
    return tl::unexpected(last_error());
  return Diff(raw);
}

void find_renames(git_diff* diff) {
  const std::size_t n = git_diff_num_deltas_of_type(diff, GIT_DELTA_ADDED),
                    n_gone = git_diff_num_deltas_of_type(diff, GIT_DELTA_DELETED);
  git_diff_find_options options = GIT_DIFF_FIND_OPTIONS_INIT;
  if (std::max(n, n_gone) > kRenamesComparedMax)
    options.flags = GIT_DIFF_FIND_RENAMES | GIT_DIFF_FIND_EXACT_MATCH_ONLY;
  git_diff_find_similar(diff, &options);
}

}  // namespace lares::tools::git
