// The text of `git status --short --branch`.
#include <fmt/format.h>

#include <string>
#include <vector>

#include "tools/git/filtered.h"
#include "tools/git/index.h"
#include "tools/git/patch.h"
#include "tools/git/repo.h"
#include "tools/git/text.h"
#include "tools/git/upstream.h"
#include "tools/text.h"

namespace lares::tools::git {
namespace {

// Of a conflict: who changed, added or deleted the file, we or they.
std::string conflict_letters(git_index* index, const std::string& path) {
  const git_index_entry *base = nullptr, *ours = nullptr, *theirs = nullptr;
  if (git_index_conflict_get(&base, &ours, &theirs, index, path.c_str()) != 0) return "UU";
  if (ours && theirs) return base ? "UU" : "AA";
  if (ours) return base ? "UD" : "AU";
  if (theirs) return base ? "DU" : "UA";
  return "DD";
}

// The two letters of `git status --short`.
std::string letters(unsigned status) {
  if (status == GIT_STATUS_WT_NEW) return "??";
  char index = ' ', worktree = ' ';
  if (status & GIT_STATUS_INDEX_NEW) index = 'A';
  if (status & GIT_STATUS_INDEX_MODIFIED) index = 'M';
  if (status & GIT_STATUS_INDEX_DELETED) index = 'D';
  if (status & GIT_STATUS_INDEX_RENAMED) index = 'R';
  if (status & GIT_STATUS_INDEX_TYPECHANGE) index = 'T';
  if (status & GIT_STATUS_WT_MODIFIED) worktree = 'M';
  if (status & GIT_STATUS_WT_DELETED) worktree = 'D';
  if (status & GIT_STATUS_WT_TYPECHANGE) worktree = 'T';
  return {index, worktree};
}

// Of a submodule that is changed: it is at another commit, has changed files, or new ones.
char submodule_letter(git_repository* repo, const std::string& path) {
  unsigned status = 0;
  if (git_submodule_status(&status, repo, path.c_str(), GIT_SUBMODULE_IGNORE_NONE) != 0 ||
      (status & GIT_SUBMODULE_STATUS_WD_MODIFIED) != 0)
    return 'M';
  constexpr unsigned kFiles = GIT_SUBMODULE_STATUS_WD_INDEX_MODIFIED |
                              GIT_SUBMODULE_STATUS_WD_WD_MODIFIED;
  if ((status & kFiles) != 0) return 'm';
  return (status & GIT_SUBMODULE_STATUS_WD_UNTRACKED) != 0 ? '?' : 'M';
}

// `git add -N`: nothing of it is in the index.
bool is_only_intended(git_index* index, const std::string& path) {
  const git_index_entry* entry = git_index_get_bypath(index, path.c_str(), 0);
  return entry && (entry->flags_extended & GIT_INDEX_ENTRY_INTENT_TO_ADD) != 0;
}

std::string branch_line(git_repository* repo) {
  const auto name = head_name(repo);
  if (git_repository_head_unborn(repo) == 1) return fmt::format("## No commits yet on {}\n", name);
  if (name.empty()) return "## HEAD (no branch)\n";
  git_reference *raw_head = nullptr, *raw_upstream = nullptr;
  if (git_repository_head(&raw_head, repo) != 0) return fmt::format("## {}\n", name);
  const Reference head(raw_head);
  const std::string follows = upstream_of(repo, git_reference_name(raw_head));
  if (follows.empty() || git_reference_lookup(&raw_upstream, repo, follows.c_str()) != 0)
    return fmt::format("## {}\n", name);
  const Reference upstream(raw_upstream);
  const git_oid *ours = git_reference_target(raw_head),
                *theirs = git_reference_target(raw_upstream);
  std::string apart = ours && theirs ? distance(repo, ours, theirs) : "";
  if (!apart.empty()) apart = " [" + apart + "]";
  return fmt::format("## {}...{}{}\n", name, git_reference_shorthand(raw_upstream), apart);
}

}  // namespace

GitResult<std::string> status(const Opened& opened, const Request& request) {
  git_repository* repo = opened.repo.get();
  auto path = path_in_repository(opened, request.root, request.path);
  if (!path) return path;
  git_status_options options = GIT_STATUS_OPTIONS_INIT;
  options.show = GIT_STATUS_SHOW_INDEX_AND_WORKDIR;
  options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_RENAMES_HEAD_TO_INDEX |
                  GIT_STATUS_OPT_SORT_CASE_SENSITIVELY | GIT_STATUS_OPT_DISABLE_PATHSPEC_MATCH;
  Strings spec(*path);
  spec.into(options.pathspec);
  if (auto heeded = heed_files_that_are_there(repo); !heeded)
    return tl::unexpected("status: " + heeded.error());
  const auto index = index_of(repo);
  if (!index) return tl::unexpected("status: " + index.error());
  git_index* const raw_index = index->get();
  git_status_list* raw = nullptr;
  if (git_status_list_new(&raw, repo, &options) != 0)
    return tl::unexpected(fmt::format("status: {}", last_error()));
  const Owned<git_status_list, git_status_list_free> list(raw);
  std::string tracked, untracked;  // git lists new files last
  const Filters filters(repo);
  std::vector<std::string> unsure;
  for (std::size_t i = 0; i < git_status_list_entrycount(raw); ++i) {
    const git_status_entry* entry = git_status_byindex(raw, i);
    const git_diff_delta* staged = entry->head_to_index;
    const git_diff_delta* delta = entry->index_to_workdir ? entry->index_to_workdir : staged;
    std::string name = delta->new_file.path ? delta->new_file.path : delta->old_file.path;
    unsigned is = entry->status;
    if ((is & GIT_STATUS_WT_DELETED) && is_kept_out(repo, raw_index, name.c_str()))
      is &= ~static_cast<unsigned>(GIT_STATUS_WT_DELETED);
    if ((is & GIT_STATUS_WT_MODIFIED) && entry->index_to_workdir) {
      const auto stored = filters.stored(name.c_str(), entry->index_to_workdir->old_file.id);
      if (stored == Filters::Stored::same) is &= ~static_cast<unsigned>(GIT_STATUS_WT_MODIFIED);
      if (stored == Filters::Stored::unknown) unsure.push_back(name);
    }
    if (is == GIT_STATUS_CURRENT) continue;
    // Out of the index, and still there.
    if ((is & GIT_STATUS_WT_NEW) && is != GIT_STATUS_WT_NEW)
      untracked += fmt::format("?? {}\n", name);
    std::string how = is & GIT_STATUS_CONFLICTED ? conflict_letters(raw_index, name) : letters(is);
    if ((is & GIT_STATUS_WT_MODIFIED) && delta->new_file.mode == GIT_FILEMODE_COMMIT)
      how[1] = submodule_letter(repo, name);
    else if ((is & GIT_STATUS_INDEX_NEW) && is_only_intended(raw_index, name))
      how = is & GIT_STATUS_WT_DELETED ? " D" : " A";
    if (staged && (is & GIT_STATUS_INDEX_RENAMED))
      name = fmt::format("{} -> {}", staged->old_file.path, name);
    (is == GIT_STATUS_WT_NEW ? untracked : tracked) += fmt::format("{} {}\n", how, name);
  }
  if (tracked.empty() && untracked.empty()) untracked = "nothing to commit, working tree clean\n";
  if (!unsure.empty())
    untracked += fmt::format(
        "[may be unchanged, for they are stored in another form, through a "
        "filter or in another encoding: {}; git status in bash knows]\n",
        few_of(unsure));
  return bounded(to_utf8(branch_line(repo) + tracked + untracked), "name a path");
}

}  // namespace lares::tools::git
