// status, diff, log and show: the texts are git's own.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <utility>
#include <vector>

#include "tools/git/filtered.h"
#include "tools/git/index.h"
#include "tools/git/repo.h"
#include "tools/git/shallow.h"
#include "tools/git/text.h"
#include "tools/git/tree_diff.h"
#include "tools/git/upstream.h"
#include "tools/text.h"
#include "tools/workspace/rules.h"

namespace lares::tools::git {
namespace {

constexpr int kLogDefault = 10, kLogMax = 200;
constexpr int kCommitsWalkedMax = 100'000;
constexpr git_off_t kDiffFileBytesMax = 2 << 20;  // larger files count as binary

struct Strings {  // a git_strarray of at most one path
  explicit Strings(const std::string& path) : text(path), pointer(text.data()) {}
  void into(git_strarray& array) {
    if (!text.empty()) array = {&pointer, 1};
  }
  std::string text;
  char* pointer;
};

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

bool is_secret(const git_diff_delta* delta) {
  // Renamed, its lines are still the secret's.
  for (const char* path : {delta->new_file.path, delta->old_file.path})
    if (path && is_secret_name(path)) return true;
  return false;
}

// Everything is counted, the lines beyond the bound are not kept.
struct Patch {
  std::string text;
  std::size_t n_lines_cut = 0;
  const Filters* filters = nullptr;  // where lines may be of files in the worktree
  bool filtered = false;             // the file under way
  // Of the file under way, where its name is one of keys and certificates: its lines, for a look.
  std::string path, lines;
  std::size_t lines_at = 0;  // in the text
};

void withhold_key(Patch& patch) {
  if (!patch.lines.empty() && is_secret_text(patch.path, patch.lines)) {
    patch.text.resize(patch.lines_at);
    patch.text += "[content withheld: a key]\n";
  }
  patch.lines.clear();
}

// The header of a file without the line that begins with "index": `show` gives a content by its id.
std::string without_ids(std::string_view header) {
  std::string out;
  for (const std::string_view line : split_lines(header))
    if (!line.starts_with("index ")) out.append(line) += '\n';
  return out;
}

int append_line(const git_diff_delta* delta, const git_diff_hunk*, const git_diff_line* line,
                void* payload) {
  auto& patch = *static_cast<Patch*>(payload);
  if (is_secret(delta) && line->origin != GIT_DIFF_LINE_FILE_HDR) return 0;
  if (line->origin == GIT_DIFF_LINE_FILE_HDR) {
    withhold_key(patch);
    patch.path = delta->new_file.path ? delta->new_file.path : delta->old_file.path;
    patch.filtered = patch.filters && patch.filters->only_git_compares(patch.path.c_str());
  }
  if (patch.text.size() > kOutputBytesMax) {
    ++patch.n_lines_cut;
    return 0;
  }
  if (patch.filtered && line->origin != GIT_DIFF_LINE_FILE_HDR) return 0;
  const bool content = line->origin == '+' || line->origin == '-' || line->origin == ' ';
  if (content) patch.text += line->origin;
  const std::string_view text(line->content, line->content_len);
  patch.text += is_secret(delta) ? without_ids(text) : text;
  if (line->origin == GIT_DIFF_LINE_FILE_HDR) patch.lines_at = patch.text.size();
  if (content && needs_a_look(patch.path)) patch.lines.append(line->content, line->content_len);
  if (is_secret(delta)) patch.text += "[content withheld: this name is one for secrets]\n";
  if (patch.filtered)
    patch.text +=
        "[lines not shown: it is stored in another form, through a filter or in another "
        "encoding; git diff in bash shows them]\n";
  return 0;
}

GitResult<std::string> patch_text(const std::vector<Diff>& diffs,
                                  const Filters* filters = nullptr) {
  Patch patch;
  patch.filters = filters;
  std::size_t n_files = 0;
  for (const Diff& diff : diffs) {
    find_renames(diff.get());
    if (git_diff_print(diff.get(), GIT_DIFF_FORMAT_PATCH, append_line, &patch) != 0)
      return tl::unexpected(fmt::format("diff: {}", last_error()));
    withhold_key(patch);
    n_files += git_diff_num_deltas(diff.get());
  }
  std::string text = to_utf8(patch.text);
  if (patch.n_lines_cut > 0 || text.size() > kOutputBytesMax) {
    const auto end = text.rfind('\n', kOutputBytesMax);
    const auto cut = end == std::string::npos ? utf8_floor(text, kOutputBytesMax) : end + 1;
    patch.n_lines_cut += split_lines(std::string_view(text).substr(cut)).size();
    text.resize(cut);
    text += fmt::format("[cut: {} more lines, {} files in all; name a path]\n", patch.n_lines_cut,
                        n_files);
  }
  return text;
}

git_diff_options diff_options() {
  git_diff_options options = GIT_DIFF_OPTIONS_INIT;
  options.flags = GIT_DIFF_DISABLE_PATHSPEC_MATCH;
  options.max_size = kDiffFileBytesMax;
  return options;
}

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

std::string full_date(const git_time& when) {
  auto text = date(when, "%a %b %d %H:%M:%S %Y");
  if (text.size() > 8 && text[8] == '0') text.erase(8, 1);  // git: "Nov 4", no padding
  const int minutes = std::abs(when.offset);
  return fmt::format("{} {}{:02}{:02}", text, when.offset < 0 ? '-' : '+', minutes / 60,
                     minutes % 60);
}

// Where git itself sees another history.
std::string unlike_git(git_repository* repo) {
  const std::string common = git_repository_commondir(repo);
  git_reference_iterator* raw = nullptr;
  git_reference* replaced = nullptr;
  if (git_reference_iterator_glob_new(&raw, repo, "refs/replace/*") != 0) return "";
  const Owned<git_reference_iterator, git_reference_iterator_free> replacements(raw);
  const bool replaces = git_reference_next(&replaced, raw) == 0;
  git_reference_free(replaced);
  if (!replaces && ::access((common + "info/grafts").c_str(), F_OK) != 0) return "";
  return fmt::format("[{} not heeded here; git log in bash heeds {}]\n",
                     replaces ? "git's replacements (refs/replace) are" : "info/grafts is",
                     replaces ? "them" : "it");
}

// 1: the commit's version of `path` differs from every parent's; 0: it does not; < 0: it cannot be
// said.
int touches(git_commit* commit, const std::string& path) {
  const auto entry_id = [&](git_commit* of, git_oid& id) {
    id = git_oid{};
    git_tree* raw_tree = nullptr;
    if (const int failed = git_commit_tree(&raw_tree, of); failed != 0) return failed;
    const Tree tree(raw_tree);
    git_tree_entry* raw = nullptr;
    const int failed = git_tree_entry_bypath(&raw, raw_tree, path.c_str());
    if (failed == GIT_ENOTFOUND) return 0;
    if (failed != 0) return failed;
    id = *git_tree_entry_id(raw);
    git_tree_entry_free(raw);
    return 0;
  };
  git_oid here{}, there{};
  if (const int failed = entry_id(commit, here); failed != 0) return failed;
  const unsigned n = git_commit_parentcount(commit);
  if (n == 0) return !git_oid_is_zero(&here);
  for (unsigned i = 0; i < n; ++i) {
    git_commit* raw = nullptr;
    const int failed = git_commit_parent(&raw, commit, i);
    if (failed == GIT_ENOTFOUND) {  // a shallow clone ends here
      there = git_oid{};
      if (git_oid_equal(&here, &there)) return 0;
      continue;
    }
    if (failed != 0) return failed;
    const Commit parent(raw);
    if (const int unread = entry_id(raw, there); unread != 0) return unread;
    if (git_oid_equal(&here, &there)) return 0;
  }
  return 1;
}

std::string header_of(git_commit* commit) {
  std::string text = fmt::format("commit {}\n", git_oid_tostr_s(git_commit_id(commit)));
  if (git_commit_parentcount(commit) > 1) {
    text += "Merge:";
    for (unsigned i = 0; i < git_commit_parentcount(commit); ++i) {
      git_commit* raw = nullptr;
      if (git_commit_parent(&raw, commit, i) != 0) continue;
      const Commit parent(raw);
      text += ' ';
      text += short_id(reinterpret_cast<git_object*>(raw));
    }
    text += "\n";
  }
  const git_signature* author = git_commit_author(commit);
  text += fmt::format("Author: {} <{}>\nDate:   {}\n\n", author->name, author->email,
                      full_date(author->when));
  for (const auto line : split_lines(git_commit_message(commit)))
    text += fmt::format("    {}\n", line);
  return to_utf8(text);
}

GitResult<std::string> show_commit(const Opened& opened, git_commit* commit,
                                   const std::string& path) {
  git_repository* repo = opened.repo.get();
  git_tree *raw_tree = nullptr, *raw_parent_tree = nullptr;
  if (git_commit_tree(&raw_tree, commit) != 0) return tl::unexpected(last_error());
  const Tree tree(raw_tree);
  git_commit* raw_parent = nullptr;
  const bool has_parent = git_commit_parentcount(commit) > 0 &&
                          git_commit_parent(&raw_parent, commit, 0) == 0;
  const Commit parent(raw_parent);
  if (has_parent && git_commit_tree(&raw_parent_tree, raw_parent) != 0)
    return tl::unexpected(last_error());
  const Tree parent_tree(raw_parent_tree);
  auto options = diff_options();
  Strings spec(path);
  spec.into(options.pathspec);
  auto diff = diff_trees(repo, raw_parent_tree, raw_tree, options);
  if (!diff) return tl::unexpected(diff.error());
  std::vector<Diff> changes;
  changes.push_back(std::move(*diff));
  auto patch = patch_text(changes);
  if (!patch) return patch;
  return fmt::format("{}\n{}", header_of(commit), *patch);
}

// The path that a revision names, `HEAD@{2020-01-01 10:00}:a/b` and `:0:a/b` too; "" where it names
// none.
std::string path_named_by(const std::string& rev) {
  std::size_t at = 0;
  for (; at < rev.size() && rev[at] != ':'; ++at) {
    const std::string_view rest = std::string_view(rev).substr(at);
    if (!rest.starts_with("@{") && !rest.starts_with("^{")) continue;
    const std::size_t end = rev.find('}', at);
    if (end == std::string::npos) break;
    at = end;
  }
  if (at >= rev.size()) return "";
  const bool stage = at == 0 && rev.size() > 2 && rev[2] == ':' && rev[1] >= '0' && rev[1] <= '3';
  return rev.substr(stage ? 3 : at + 1);
}

struct NamesOf {
  git_oid id;
  std::vector<std::string> paths;
};
int add_name(const char* directory, const git_tree_entry* entry, void* payload) {
  auto& names = *static_cast<NamesOf*>(payload);
  if (git_oid_equal(git_tree_entry_id(entry), &names.id))
    names.paths.push_back(directory + std::string(git_tree_entry_name(entry)));
  return 0;
}
// What a content that is given by its id is called in the index and in HEAD.
std::vector<std::string> names_of(git_repository* repo, const git_oid& id) {
  NamesOf names{id, {}};
  if (const auto index = index_of(repo)) {
    for (std::size_t i = 0; i < git_index_entrycount(index->get()); ++i) {
      const git_index_entry* entry = git_index_get_byindex(index->get(), i);
      if (git_oid_equal(&entry->id, &id)) names.paths.emplace_back(entry->path);
    }
  }
  if (const auto head = head_tree(repo); head && *head)
    (void)git_tree_walk(head->get(), GIT_TREEWALK_PRE, add_name, &names);
  return std::move(names.paths);
}

GitResult<std::string> show_blob(git_repository* repo, const std::string& rev,
                                 const git_blob* blob) {
  const std::string_view bytes(static_cast<const char*>(git_blob_rawcontent(blob)),
                               static_cast<std::size_t>(git_blob_rawsize(blob)));
  std::vector<std::string> paths = {path_named_by(rev)};
  if (paths.front().empty()) {
    paths = names_of(repo, *git_blob_id(blob));
    paths.emplace_back("x.crt");  // a key has no name here when it is gone from both
  }
  for (const std::string& path : paths) {
    if (is_secret_name(path) || (needs_a_look(path) && is_secret_text(path, bytes)))
      return tl::unexpected(fmt::format("{}: content withheld, this name is one for secrets", rev));
  }
  if (is_binary(bytes)) return fmt::format("{} is binary, {} bytes\n", rev, bytes.size());
  return bounded(to_utf8(bytes), "use git show in bash with sed -n");
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

GitResult<std::string> log(const Opened& opened, const Request& request,
                           const Cancelled& cancelled) {
  git_repository* repo = opened.repo.get();
  const auto path = path_in_repository(opened, request.root, request.path);
  if (!path) return path;
  if (git_repository_head_unborn(repo) == 1) return std::string("no commits yet\n");
  git_revwalk* raw = nullptr;
  if (git_revwalk_new(&raw, repo) != 0) return tl::unexpected(last_error());
  const Owned<git_revwalk, git_revwalk_free> walk(raw);
  git_revwalk_sorting(raw,
                      GIT_SORT_NONE);  // git's own order; by time alone, equal seconds are shuffled
  const auto ends = shallow_commits(repo);
  ShallowWalk shallow(repo, ends);
  const bool is_range = request.rev.find("..") != std::string::npos;
  if (is_range) {
    if (git_revwalk_push_range(raw, request.rev.c_str()) != 0) {
      return tl::unexpected(fmt::format("log {}: {}", request.rev, last_error()));
    }
  } else {
    const auto start = resolve(repo, request.rev.empty() ? "HEAD" : request.rev);
    if (!start) return tl::unexpected(start.error());
    git_object* tip = nullptr;
    if (git_object_peel(&tip, start->get(), GIT_OBJECT_COMMIT) != 0) {
      return tl::unexpected(fmt::format(
          "log: {} is not a commit; give a branch or a commit, and a file as `path`", request.rev));
    }
    const Object commit(tip);
    git_revwalk_push(raw, git_object_id(tip));
    if (!ends.empty() && shallow.push(*git_object_id(tip)) != 0)
      return tl::unexpected(fmt::format("log: {}", last_error()));
  }
  const auto next_commit = [&](git_oid* id) {
    return ends.empty() || is_range ? git_revwalk_next(id, raw) : shallow.next(id);
  };
  const int n = request.n > 0 ? std::min(request.n, kLogMax) : kLogDefault;
  std::string text;
  git_oid id;
  int next = 0;
  for (int shown = 0, walked = 0; shown < n && (next = next_commit(&id)) == 0; ++walked) {
    if (cancelled.load()) break;
    if (walked == kCommitsWalkedMax) {
      text += fmt::format("[stopped after {} commits]\n", walked);
      break;
    }
    git_commit* raw_commit = nullptr;
    if ((next = git_commit_lookup(&raw_commit, repo, &id)) != 0) break;
    const Commit commit(raw_commit);
    if (!path->empty()) {
      const auto touched = touches(raw_commit, *path);
      next = touched < 0 ? touched : 0;
      if (next != 0) break;
      if (!touched) continue;
    }
    const git_signature* author = git_commit_author(raw_commit);
    const char* summary = git_commit_summary(raw_commit);
    text += fmt::format("{} {} {}  {}\n", short_id(reinterpret_cast<git_object*>(raw_commit)),
                        date(author->when, "%Y-%m-%d"), author->name, summary ? summary : "");
    ++shown;
  }
  if (next != 0 && next != GIT_ITEROVER) {
    if (text.empty()) return tl::unexpected(fmt::format("log: {}", last_error()));
    text += fmt::format("[not all: {}]\n", last_error());
  }
  if (next == GIT_ITEROVER && !ends.empty())
    text += "[older commits are not here, for this is a shallow clone]\n";
  text += unlike_git(repo);
  if (text.empty())
    return fmt::format("no commits{}{}\n", request.path.empty() ? "" : " that touch ",
                       request.path);
  return bounded(to_utf8(text), "give a smaller n");
}

GitResult<std::string> show(const Opened& opened, const Request& request) {
  const std::string rev = request.rev.empty() ? "HEAD" : request.rev;
  auto path = path_in_repository(opened, request.root, request.path);
  if (!path) return path;
  auto object = resolve(opened.repo.get(), rev);
  if (!object) return tl::unexpected(object.error());
  if (git_object_type(object->get()) == GIT_OBJECT_TAG) {
    git_object* raw = nullptr;
    if (git_object_peel(&raw, object->get(), GIT_OBJECT_ANY) != 0)
      return tl::unexpected(last_error());
    *object = Object(raw);
  }
  switch (git_object_type(object->get())) {
    case GIT_OBJECT_COMMIT:
      return show_commit(opened, reinterpret_cast<git_commit*>(object->get()), *path);
    case GIT_OBJECT_BLOB:
      return show_blob(opened.repo.get(), rev, reinterpret_cast<git_blob*>(object->get()));
    case GIT_OBJECT_TREE: {
      const auto* tree = reinterpret_cast<git_tree*>(object->get());
      std::string text = fmt::format("tree {}\n\n", rev);
      for (std::size_t i = 0; i < git_tree_entrycount(tree); ++i) {
        const git_tree_entry* entry = git_tree_entry_byindex(tree, i);
        text += fmt::format("{}{}\n", git_tree_entry_name(entry),
                            git_tree_entry_type(entry) == GIT_OBJECT_TREE ? "/" : "");
      }
      return bounded(to_utf8(text), "name a subdirectory");
    }
    default:
      return tl::unexpected(fmt::format("{} is neither a commit nor a file", rev));
  }
}

}  // namespace lares::tools::git
