#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "tools/git/filtered.h"
#include "tools/git/index.h"
#include "tools/git/patch.h"
#include "tools/git/repo.h"
#include "tools/git/tree_diff.h"

namespace lares::tools::git {
namespace {

// Where a diff finds a file.
enum class Lies {
  usually,      // in the worktree, with the index between
  kept_out,     // what is kept out of the worktree is what it is in the index
  in_conflict,  // of a file in conflict the index has several
};
struct Wanted {
  git_repository* repo;
  git_index* index;
  Lies wanted;
  const Filters* filters;  // null: no side is the worktree
};
// libgit2 asks about each file of a diff: > 0 leaves it out.
int only(const git_diff*, const git_diff_delta* delta, const char*, void* payload) {
  const auto& of = *static_cast<const Wanted*>(payload);
  const char* path = delta->old_file.path;
  const git_index_entry *base = nullptr, *ours = nullptr, *theirs = nullptr;
  const Lies lies = git_index_has_conflicts(of.index) &&
                            git_index_conflict_get(&base, &ours, &theirs, of.index, path) == 0
                        ? Lies::in_conflict
                    : is_kept_out(of.repo, of.index, path) ? Lies::kept_out
                                                           : Lies::usually;
  if (lies != of.wanted) return 1;
  return of.filters && delta->status == GIT_DELTA_MODIFIED &&
         of.filters->stored(path, delta->old_file.id) == Filters::Stored::same;
}

// As git_diff_tree_to_workdir_with_index(), but with all files where they lie. A diff reads all its
// files in one place, so those that lie elsewhere come last.
GitResult<std::vector<Diff>> diff_with_files(git_repository* repo, git_tree* from,
                                             git_diff_options options, const Filters& filters) {
  if (auto heeded = heed_files_that_are_there(repo); !heeded) return tl::unexpected(heeded.error());
  const auto index = index_of(repo);
  if (!index) return tl::unexpected(index.error());
  git_index* const raw_index = index->get();
  Wanted of{repo, raw_index, Lies::usually, nullptr};
  options.notify_cb = only;
  options.payload = &of;
  git_diff *staged = nullptr, *unstaged = nullptr, *kept_out = nullptr, *in_conflict = nullptr;
  std::vector<Diff> out;
  if (git_diff_tree_to_index(&staged, repo, from, raw_index, &options) != 0)
    return tl::unexpected(last_error());
  out.emplace_back(staged);
  of.filters = &filters;
  if (git_diff_index_to_workdir(&unstaged, repo, raw_index, &options) != 0)
    return tl::unexpected(last_error());
  const Diff below(unstaged);
  if (git_diff_merge(staged, unstaged) != 0) return tl::unexpected(last_error());
  of.wanted = Lies::kept_out, of.filters = nullptr;
  if (git_diff_tree_to_index(&kept_out, repo, from, raw_index, &options) != 0)
    return tl::unexpected(last_error());
  out.emplace_back(kept_out);
  if (!git_index_has_conflicts(raw_index)) return out;
  of.wanted = Lies::in_conflict, of.filters = &filters;
  options.flags |= GIT_DIFF_INCLUDE_UNTRACKED | GIT_DIFF_RECURSE_UNTRACKED_DIRS |
                   GIT_DIFF_SHOW_UNTRACKED_CONTENT;  // what only they have
  if (git_diff_tree_to_workdir(&in_conflict, repo, from, &options) != 0)
    return tl::unexpected(last_error());
  out.emplace_back(in_conflict);
  return out;
}

struct Range {
  Tree from, to;
};

// a..b, or a...b: what b changed since the two parted.
GitResult<Range> trees_of_range(git_repository* repo, const std::string& rev) {
  git_revspec spec{};
  if (git_revparse(&spec, repo, rev.c_str()) != 0) {
    return tl::unexpected(
        fmt::format("{}: no such revisions; log lists commits, branch branches", rev));
  }
  const Object from(spec.from), to(spec.to);
  std::string left = git_oid_tostr_s(git_object_id(spec.from));
  if (spec.flags & GIT_REVSPEC_MERGE_BASE) {
    git_oid base;
    if (git_merge_base(&base, repo, git_object_id(spec.from), git_object_id(spec.to)) != 0) {
      return tl::unexpected(fmt::format("{}: no common ancestor", rev));
    }
    left = git_oid_tostr_s(&base);
  }
  auto from_tree = tree_of(repo, left);
  if (!from_tree) return tl::unexpected(from_tree.error());
  auto to_tree = tree_of(repo, git_oid_tostr_s(git_object_id(spec.to)));
  if (!to_tree) return tl::unexpected(to_tree.error());
  return Range{std::move(*from_tree), std::move(*to_tree)};
}

}  // namespace

GitResult<std::string> diff(const Opened& opened, const Request& request) {
  git_repository* repo = opened.repo.get();
  auto path = path_in_repository(opened, request.root, request.path);
  if (!path) return path;
  auto options = diff_options();
  Strings spec(*path);
  spec.into(options.pathspec);
  const std::string rev = request.rev.empty() ? "HEAD" : request.rev;
  std::vector<Diff> changes;
  const Filters filters(repo);
  bool with_worktree = false;
  if (rev.find("..") != std::string::npos) {
    const auto range = trees_of_range(repo, rev);
    if (!range) return tl::unexpected(range.error());
    auto between = diff_trees(repo, range->from.get(), range->to.get(), options);
    if (!between) return tl::unexpected(fmt::format("diff {}: {}", rev, between.error()));
    changes.push_back(std::move(*between));
  } else {
    const auto from = request.rev.empty() ? head_tree(repo) : tree_of(repo, rev);
    if (!from) return tl::unexpected(from.error());
    auto with_files = diff_with_files(repo, from->get(), options, filters);
    if (!with_files) return tl::unexpected(fmt::format("diff {}: {}", rev, with_files.error()));
    changes = std::move(*with_files);
    with_worktree = true;
  }
  auto text = patch_text(changes, with_worktree ? &filters : nullptr);
  if (!text || !text->empty()) return text;
  return fmt::format("no changes in tracked files since {}{}{}\n", rev,
                     request.path.empty() ? "" : " in ", request.path);
}

}  // namespace lares::tools::git
