// add and commit. Hooks and external filters are the repository's programs: the first are left out
// and named, a path under the second is refused, for libgit2 would store its raw bytes (an LFS file
// instead of its pointer). So is one whose encoding git itself converts.
#include <fcntl.h>
#include <fmt/format.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/secret_names.h"
#include "tools/git/filtered.h"
#include "tools/git/index.h"
#include "tools/git/repo.h"
#include "tools/git/text.h"
#include "tools/git/tree_diff.h"
#include "tools/text.h"
#include "tools/workspace/path_hint.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/rules.h"

namespace lares::tools::git {
namespace {

struct Staging {
  git_repository* repo;
  git_index* index;
  const Filters* filters;
  const Stop* stop;
  std::string filtered, filter;      // a path that is stored through a program
  std::string encoded, encoding;     // a path that is stored in another encoding
  std::vector<std::string> secrets;  // new files left out
};

// A name that says it, or a key in what may be a certificate. One that cannot be read cannot
// be added.
bool is_secret_file(git_repository* repo, const std::string& path) {
  if (is_secret_name(path)) return true;
  if (!needs_a_look(path)) return false;
  const auto fs = RootedFs::open(git_repository_workdir(repo));
  const auto data = fs ? fs->read_head(path, sandbox::kSecretMarkBytes)
                       : tl::unexpected(fs.error());
  return data && is_secret_text(path, data->bytes);
}

// Asked about each path before it is added: 0 adds, > 0 leaves out, < 0 stops.
int consider(const char* path, const char*, void* payload) {
  auto& staging = *static_cast<Staging*>(payload);
  const std::string_view name(path);
  if (name.ends_with('/')) return 1;  // a nested repository, which would fail the whole call
  if (is_kept_out(staging.repo, staging.index, path)) return 1;
  const git_index_entry* const tracked = git_index_get_bypath(staging.index, path, 0);
  struct stat st {};
  if (tracked &&
      ::lstat((git_repository_workdir(staging.repo) + std::string(path)).c_str(), &st) != 0)
    return 0;  // it goes
  if (tracked && staging.filters->stored(path, tracked->id) == Filters::Stored::same) return 1;
  if (!tracked && is_secret_file(staging.repo, path)) {
    staging.secrets.emplace_back(name);
    return 1;
  }
  staging.encoding = other_encoding(staging.repo, GIT_ATTR_CHECK_FILE_THEN_INDEX, path);
  if (!staging.encoding.empty()) {
    staging.encoded = path;
    return -1;
  }
  staging.filter = staging.filters->filter_of(path, Filters::Way::in,
                                              GIT_ATTR_CHECK_FILE_THEN_INDEX);
  if (!staging.filter.empty()) {
    staging.filtered = path;
    return -1;
  }
  return 0;
}

// As git_index_add_all(), which reads what every changed file was before, those that are kept out
// too: of a partial clone that is not there. libgit2's result.
int stage_changes(Staging& staging, const git_strarray& spec) {
  git_diff_options options = GIT_DIFF_OPTIONS_INIT;
  options.flags = GIT_DIFF_DISABLE_PATHSPEC_MATCH | GIT_DIFF_INCLUDE_TYPECHANGE |
                  GIT_DIFF_INCLUDE_UNTRACKED | GIT_DIFF_RECURSE_UNTRACKED_DIRS;
  options.pathspec = spec;
  options.progress_cb = [](const git_diff*, const char*, const char*, void* stop) {
    return static_cast<const Stop*>(stop)->requested() ? static_cast<int>(GIT_EUSER) : 0;
  };
  options.payload = const_cast<Stop*>(staging.stop);
  git_diff* raw = nullptr;
  if (const int failed = git_diff_index_to_workdir(&raw, staging.repo, staging.index, &options);
      failed != 0)
    return failed;
  const Diff diff(raw);
  for (std::size_t i = 0; i < git_diff_num_deltas(raw); ++i) {
    if (staging.stop->requested()) return GIT_EUSER;
    const git_diff_delta* delta = git_diff_get_delta(raw, i);
    const bool goes = delta->status == GIT_DELTA_DELETED;
    const char* const path = goes ? delta->old_file.path : delta->new_file.path;
    const int verdict = consider(path, nullptr, &staging);
    if (verdict < 0) return verdict;
    if (verdict > 0) continue;
    const int failed = goes ? git_index_remove_bypath(staging.index, path)
                            : git_index_add_bypath(staging.index, path);
    if (failed != 0) return failed;
  }
  return 0;
}

GitResult<std::vector<std::string>> stage(const Opened& opened, git_index* index,
                                          const Request& request, const std::string& path,
                                          const Stop& stop) {
  git_repository* repo = opened.repo.get();
  const Filters filters(repo);
  Staging staging{repo, index, &filters, &stop, {}, {}, {}, {}, {}};
  std::string text = path;
  char* pointer = text.data();
  git_strarray spec{&pointer, text.empty() ? 0u : 1u};
  if (stage_changes(staging, spec) != 0) {
    if (stop.requested()) return tl::unexpected(std::string(kCancelled));
    if (!staging.filtered.empty()) {
      return tl::unexpected(fmt::format(
          "{} is stored through the filter `{}`, a program that is not run here; ask the user "
          "to commit it with git",
          staging.filtered, staging.filter));
    }
    if (!staging.encoded.empty()) {
      return tl::unexpected(fmt::format(
          "{} lies here as {} and is stored as UTF-8 (its attribute working-tree-encoding), which "
          "is not converted here; {}, or name another path",
          staging.encoded, staging.encoding,
          by_git(request, fmt::format("git {} {}", request.command, staging.encoded))));
    }
    return tl::unexpected(
        fmt::format("stage {}: {}", path.empty() ? "the changes" : path, last_error()));
  }
  return std::move(staging.secrets);
}

std::string hint(const Request& request) {
  const auto there = path_hint(request.root, request.path);
  return there.empty() ? "" : fmt::format(".{}", there);
}

bool known_path(const Opened& opened, git_index* index, const std::string& path) {
  if (path.empty()) return true;
  const std::string full = std::string(git_repository_workdir(opened.repo.get())) + path;
  if (::faccessat(AT_FDCWD, full.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) return true;
  std::size_t at = 0;
  return git_index_get_bypath(index, path.c_str(), 0) ||
         git_index_find_prefix(&at, index, (path + "/").c_str()) == 0;
}

// What git would refuse to add: only what is not tracked yet can be ignored.
bool is_ignored(const Opened& opened, git_index* index, const std::string& path) {
  git_repository* repo = opened.repo.get();
  std::size_t at = 0;
  if (path.empty() || git_index_get_bypath(index, path.c_str(), 0) ||
      git_index_find_prefix(&at, index, (path + "/").c_str()) == 0)
    return false;
  struct stat st {};
  const bool directory = ::lstat((std::string(git_repository_workdir(repo)) + path).c_str(), &st) ==
                             0 &&
                         S_ISDIR(st.st_mode);
  int ignored = 0;
  return git_ignore_path_is_ignored(&ignored, repo, (path + (directory ? "/" : "")).c_str()) == 0 &&
         ignored;
}
GitResult<> check_path(const Opened& opened, git_index* index, const Request& request,
                       const std::string& path) {
  if (!known_path(opened, index, path))
    return tl::unexpected(
        fmt::format("{}: {} does not exist{}", request.command, request.path, hint(request)));
  if (is_ignored(opened, index, path))
    return tl::unexpected(fmt::format(
        "{}: {} is ignored (.gitignore); if it is meant all the same, {}", request.command,
        request.path, by_git(request, fmt::format("git add -f {}", request.path))));
  return {};
}

// Two names that are one to libgit2, which would stage the one file as the other; "" where there
// are none.
std::string names_of_one_case(git_index* index) {
  if ((git_index_caps(index) & GIT_INDEX_CAPABILITY_IGNORE_CASE) == 0) return "";
  std::vector<std::string> names;
  for (std::size_t i = 0; i < git_index_entrycount(index); ++i)
    names.emplace_back(git_index_get_byindex(index, i)->path);
  std::ranges::sort(names, [](const std::string& a, const std::string& b) {
    return ::strcasecmp(a.c_str(), b.c_str()) < 0;
  });
  const auto twin = std::ranges::adjacent_find(
      names, [](const std::string& a, const std::string& b) {
        return a != b && ::strcasecmp(a.c_str(), b.c_str()) == 0;
      });
  return twin == names.end() ? "" : to_utf8(fmt::format("{} and {}", *twin, *(twin + 1)));
}

GitResult<IndexToWrite> index_to_write(git_repository* repo, const Request& request) {
  auto index = IndexToWrite::open(repo);
  if (!index) return index;
  if (auto heeded = heed_files_that_are_there(repo); !heeded) return tl::unexpected(heeded.error());
  if (const auto twins = names_of_one_case(index->get()); !twins.empty())
    return tl::unexpected(
        fmt::format("core.ignoreCase is set, and {} differ by their case alone; {}", twins,
                    by_git(request, fmt::format("git {}", request.command))));
  if (git_index_has_conflicts(index->get()))
    return tl::unexpected(fmt::format(
        "there are merge conflicts (U or AA in status); once a file has none any more, {}",
        by_git(request, "git add FILE")));
  return index;
}

// " 2 files changed, 5 insertions(+), 1 deletion(-)", and the files that came or went.
std::string summary(git_repository* repo, git_tree* before, git_tree* after) {
  const git_diff_options options = GIT_DIFF_OPTIONS_INIT;
  const auto diff = diff_trees(repo, before, after, options);
  if (!diff) return "";
  git_diff* const raw = diff->get();
  find_renames(raw);
  std::string text;
  git_diff_stats* raw_stats = nullptr;
  if (git_diff_get_stats(&raw_stats, raw) == 0) {
    const Owned<git_diff_stats, git_diff_stats_free> stats(raw_stats);
    git_buf buffer = GIT_BUF_INIT;
    if (git_diff_stats_to_buf(&buffer, raw_stats, GIT_DIFF_STATS_SHORT, 0) == 0) text = buffer.ptr;
    git_buf_dispose(&buffer);
  }
  constexpr std::size_t kFilesMax = 40;
  for (std::size_t i = 0, shown = 0; i < git_diff_num_deltas(raw); ++i) {
    const git_diff_delta* delta = git_diff_get_delta(raw, i);
    const bool came = delta->status == GIT_DELTA_ADDED, went = delta->status == GIT_DELTA_DELETED;
    if (!came && !went) continue;
    if (shown++ == kFilesMax) return text + " ...\n";
    const git_diff_file& file = came ? delta->new_file : delta->old_file;
    text += fmt::format(" {} mode {:06o} {}\n", came ? "create" : "delete",
                        static_cast<unsigned>(file.mode), to_utf8(file.path));
  }
  return text;
}

// As core.hooksPath says, which husky and the like set: relative to where hooks run.
std::optional<std::string> hooks_path(git_repository* repo, const git_config* config) {
  git_buf said = GIT_BUF_INIT;
  if (git_config_get_path(&said, config, "core.hooksPath") != 0) return std::nullopt;
  std::string path(said.ptr, said.size);
  git_buf_dispose(&said);
  const char* const top = git_repository_workdir(repo);
  return path.starts_with('/') || !top ? path : top + path;
}

// What git would have done as well.
std::string notes(git_repository* repo, const std::vector<std::string>& secrets) {
  std::string text;
  if (!secrets.empty())
    text += fmt::format("[left out, their names are ones for secrets: {}]\n", few_of(secrets));
  git_config* raw = nullptr;
  int sign = 0;
  std::string below = std::string(git_repository_commondir(repo)) + "hooks";
  if (git_repository_config_snapshot(&raw, repo) == 0) {
    const Owned<git_config, git_config_free> config(raw);
    git_config_get_bool(&sign, raw, "commit.gpgsign");
    below = hooks_path(repo, raw).value_or(below);
  }
  std::vector<std::string> hooks;
  for (const char* name : {"pre-commit", "prepare-commit-msg", "commit-msg", "post-commit"})
    if (::access((below + "/" + name).c_str(), X_OK) == 0) hooks.emplace_back(name);
  if (!hooks.empty()) text += fmt::format("[hooks were not run: {}]\n", few_of(hooks));
  if (sign) text += "[not signed, though commit.gpgsign is set]\n";
  return text;
}

// Without the files that are only to be added (`git add -N`). libgit2's result.
int write_tree(git_oid* out, git_repository* repo, git_index* index) {
  const auto is_intended = [](const git_index_entry* entry) {
    return (entry->flags_extended & GIT_INDEX_ENTRY_INTENT_TO_ADD) != 0;
  };
  std::vector<const git_index_entry*> entries;
  bool intended = false;
  for (std::size_t i = 0; i < git_index_entrycount(index); ++i) {
    const git_index_entry* entry = git_index_get_byindex(index, i);
    intended = intended || is_intended(entry);
    if (!is_intended(entry)) entries.push_back(entry);
  }
  if (!intended) return git_index_write_tree(out, index);
  git_index* raw = nullptr;
  if (const int failed = git_index_new(&raw); failed != 0) return failed;
  const Index copy(raw);
  for (const git_index_entry* entry : entries)
    if (const int failed = git_index_add(raw, entry); failed != 0) return failed;
  return git_index_write_tree_to(out, raw, repo);
}

GitResult<Signature> identity(git_repository* repo) {
  git_signature* raw = nullptr;
  if (git_signature_default(&raw, repo) != 0) {
    return tl::unexpected(
        std::string("commit: no author identity is configured; ask the user to run: git config "
                    "user.name \"...\" and git "
                    "config user.email \"...\""));
  }
  return Signature(raw);
}

GitResult<std::string> pretty_message(const std::string& message) {
  git_buf buffer = GIT_BUF_INIT;
  std::string text;
  if (git_message_prettify(&buffer, message.c_str(), 0, '#') == 0)
    text.assign(buffer.ptr, buffer.size);
  git_buf_dispose(&buffer);
  if (text.empty())
    return tl::unexpected(
        std::string("commit: `message` is missing; say what was changed and why"));
  return text;
}

}  // namespace

GitResult<std::string> add(const Opened& opened, const Request& request, Stop& stop) {
  const auto path = path_in_repository(opened, request.root, request.path);
  if (!path) return path;
  auto index = index_to_write(opened.repo.get(), request);
  if (!index) return tl::unexpected("add: " + index.error());
  if (auto fit = check_path(opened, index->get(), request, *path); !fit)
    return tl::unexpected(fit.error());
  auto secrets = stage(opened, index->get(), request, *path, stop);
  if (!secrets) return tl::unexpected("add: " + secrets.error());
  if (stop.requested()) return tl::unexpected(fmt::format("add: {}", kCancelled));
  stop.heed(false);
  if (auto written = index->write(); !written) return tl::unexpected("add: " + written.error());
  stop.heed(true);
  auto text = status(opened, request);
  if (text && !secrets->empty())
    *text += fmt::format("[left out, their names are ones for secrets: {}]\n", few_of(*secrets));
  return text;
}

GitResult<std::string> commit(const Opened& opened, const Request& request, Stop& stop) {
  git_repository* repo = opened.repo.get();
  const auto path = path_in_repository(opened, request.root, request.path);
  if (!path) return path;
  const auto message = pretty_message(request.message);
  if (!message) return message;
  const auto author = identity(repo);
  if (!author) return tl::unexpected(author.error());
  if (git_repository_state(repo) != GIT_REPOSITORY_STATE_NONE) {
    return tl::unexpected(under_way(request));
  }
  auto index = index_to_write(repo, request);
  if (!index) return tl::unexpected("commit: " + index.error());
  if (auto fit = check_path(opened, index->get(), request, *path); !fit)
    return tl::unexpected(fit.error());
  auto secrets = stage(opened, index->get(), request, *path, stop);
  if (!secrets) return tl::unexpected("commit: " + secrets.error());

  git_oid tree_id;
  if (write_tree(&tree_id, repo, index->get()) != 0)
    return tl::unexpected(fmt::format("commit: {}", last_error()));
  const auto before = head_tree(repo);
  if (!before) return tl::unexpected("commit: " + before.error());
  if (*before && git_oid_equal(git_tree_id(before->get()), &tree_id)) {
    const auto where = request.path.empty() ? std::string(", working tree clean")
                                            : fmt::format(" in {}", request.path);
    return tl::unexpected(fmt::format("nothing to commit{}\n{}", where, notes(repo, *secrets)));
  }
  if (!*before && git_index_entrycount(index->get()) == 0)
    return tl::unexpected(std::string("nothing to commit\n"));
  if (stop.requested()) return tl::unexpected(fmt::format("commit: {}", kCancelled));
  stop.heed(false);  // for the index alone would be half of it
  // As git does: the index first. If the commit fails the changes are staged, and nothing is lost.
  if (auto written = index->write(); !written) return tl::unexpected("commit: " + written.error());

  git_tree* raw_tree = nullptr;
  if (git_tree_lookup(&raw_tree, repo, &tree_id) != 0)
    return tl::unexpected(fmt::format("commit: {}", last_error()));
  const Tree tree(raw_tree);
  git_object* raw_parent = nullptr;
  if (*before && git_revparse_single(&raw_parent, repo, "HEAD^{commit}") != 0) {
    return tl::unexpected(fmt::format("commit: {}", last_error()));
  }
  const Object parent(raw_parent);
  const auto* parents = reinterpret_cast<const git_commit*>(raw_parent);
  git_oid id;
  if (git_commit_create(&id, repo, "HEAD", author->get(), author->get(), nullptr, message->c_str(),
                        raw_tree, raw_parent ? 1 : 0, &parents) != 0) {
    return tl::unexpected(fmt::format("commit: {}", last_error()));
  }
  stop.heed(true);  // what remains is to tell of it
  git_object* raw_commit = nullptr;
  if (git_object_lookup(&raw_commit, repo, &id, GIT_OBJECT_COMMIT) != 0)
    return tl::unexpected(last_error());
  const Object made(raw_commit);
  const auto branch = head_name(repo);
  return to_utf8(fmt::format("[{}{} {}] {}\n", branch.empty() ? "detached HEAD" : branch,
                             raw_parent ? "" : " (root-commit)", short_id(raw_commit),
                             git_commit_summary(reinterpret_cast<git_commit*>(raw_commit)))) +
         summary(repo, before->get(), raw_tree) + notes(repo, *secrets);
}

}  // namespace lares::tools::git
