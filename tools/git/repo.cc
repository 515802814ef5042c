#include "tools/git/repo.h"

#include <fmt/format.h>
#include <strings.h>
#include <sys/stat.h>

#include <filesystem>
#include <utility>

#include "tools/git/index.h"
#include "tools/git/objects.h"
#include "tools/git/opened_stamp.h"
#include "tools/git/owner.h"
#include "tools/git/text.h"
#include "tools/workspace/path_hint.h"

namespace lares::tools::git {
namespace {

namespace fs = std::filesystem;

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

// Of the repository's own configuration; "" where it says nothing.
std::string extension(git_repository* repo, const char* name) {
  git_config* raw = nullptr;
  if (git_repository_config_snapshot(&raw, repo) != 0) return "";
  const Owned<git_config, git_config_free> config(raw);
  const char* value = nullptr;
  return git_config_get_string(&value, raw, name) == 0 && value ? value : "";
}

}  // namespace

std::size_t object_name_bytes(git_repository* repo) {
  return extension(repo, "extensions.objectFormat") == "sha256" ? 32 : GIT_OID_RAWSZ;
}

std::string why_only_git(git_repository* repo) {
  if (object_name_bytes(repo) != GIT_OID_RAWSZ)
    return "it names its objects by SHA-256 (extensions.objectFormat), which only git itself reads "
           "here";
  if (const auto refs = extension(repo, "extensions.refStorage"); !refs.empty() && refs != "files")
    return fmt::format(
        "it keeps its branches in a {} (extensions.refStorage), which only git "
        "itself reads here",
        refs);
  return "";
}

std::string last_error() {
  if (auto why = read_failure(); !why.empty()) return why;
  const git_error* error = git_error_last();
  if (!error || !error->message) return "unknown reason";
  const auto why = of_index(error->message);
  return why.empty() ? error->message : why;
}

GitResult<Opened> open_repository(const std::string& root) {
  git_repository* raw = nullptr;
  const int opened = git_repository_open_ext(&raw, root.c_str(), 0, nullptr);
  if (opened == GIT_ENOTFOUND) {
    std::error_code ec;
    const bool broken = fs::exists(fs::symlink_status(root + "/.git", ec));
    return tl::unexpected(fmt::format(
        "{} is not a git repository{}", root,
        broken ? ", for its .git is none, which commands cannot change; ask the user to remove it "
                 "or to run git init there"
               : "; run git init there to make it one"));
  }
  if (opened != 0) {
    return tl::unexpected(fmt::format("open the repository of {}: {}; use git in bash to read it",
                                      root, last_error()));
  }
  return checked(Repository(raw), root);
}

GitResult<Opened> checked(Repository repository, const std::string& root) {
  git_repository* const raw = repository.get();
  Opened out{std::move(repository), "", 0};
  read_worktree_config(raw);
  const char* workdir = git_repository_workdir(raw);
  if (!workdir)
    return tl::unexpected(fmt::format("{} is a bare repository: it has no files to work on", root));
  const auto worktree = without_slash(workdir);
  if (auto owned = check_owner(raw); !owned) return tl::unexpected(owned.error());
  if (const auto why = why_only_git(raw); !why.empty())
    return tl::unexpected(
        fmt::format("open the repository of {}: {}; use git in bash to read it", root, why));

  std::error_code failed;
  const auto real_root = fs::canonical(root, failed);
  const auto real_worktree = failed ? fs::path() : fs::canonical(worktree, failed);
  const auto relative = failed ? fs::path("..") : real_root.lexically_relative(real_worktree);
  if (relative.empty() || *relative.begin() == "..") {
    return tl::unexpected(fmt::format(
        "the repository of {} keeps its files elsewhere, in {}; refused", root, worktree));
  }
  if (relative != ".") out.prefix = relative.generic_string() + "/";
  out.stamp = opened_stamp(raw, root);
  return out;
}

GitResult<std::string> path_in_repository(const Opened& opened, const std::string& root,
                                          const std::string& asked) {
  std::string path = asked;
  if (path.starts_with('/')) {
    if (path != root && !path.starts_with(root + "/")) {
      return tl::unexpected(fmt::format("{} is outside the repository {}", asked, root));
    }
    path = path.size() <= root.size() ? "" : path.substr(root.size() + 1);
  }
  path = without_slash(fs::path(path).lexically_normal().generic_string());
  if (path == ".." || path.starts_with("../")) {
    return tl::unexpected(fmt::format("{} is outside the repository {}", asked, root));
  }
  if (path == "." || path.empty()) return without_slash(opened.prefix);
  return opened.prefix + path;
}

namespace {

bool is_in_worktree(git_repository* repo, const char* path) {
  struct stat st {};
  return ::lstat((std::string(git_repository_workdir(repo)) + path).c_str(), &st) == 0;
}

bool is_marked_out(const git_index_entry* entry) {
  return (entry->flags_extended & GIT_INDEX_ENTRY_SKIP_WORKTREE) != 0;
}

}  // namespace

void read_worktree_config(git_repository* repo) {
  const std::string own = std::string(git_repository_path(repo)) + "config.worktree";
  git_config* raw = nullptr;
  if (::access(own.c_str(), R_OK) != 0 || git_repository_config(&raw, repo) != 0) return;
  const Owned<git_config, git_config_free> config(raw);
  int counts = 0;
  if (git_config_get_bool(&counts, raw, "extensions.worktreeConfig") == 0 && counts)
    (void)git_config_add_file_ondisk(raw, own.c_str(), GIT_CONFIG_LEVEL_APP, repo, /*force=*/1);
}

bool is_sparse(git_repository* repo) {
  git_config* raw = nullptr;
  if (git_repository_config_snapshot(&raw, repo) != 0) return false;
  const Owned<git_config, git_config_free> config(raw);
  int sparse = 0;
  return git_config_get_bool(&sparse, raw, "core.sparseCheckout") == 0 && sparse;
}

bool is_kept_out(git_repository* repo, git_index* index, const char* path) {
  const git_index_entry* entry = git_index_get_bypath(index, path, 0);
  return entry && is_marked_out(entry) && !is_in_worktree(repo, path);
}

GitResult<> heed_files_that_are_there(git_repository* repo) {
  if (!is_sparse(repo)) return {};
  const auto index = index_of(repo);
  if (!index) return tl::unexpected(index.error());
  git_index* const raw = index->get();
  for (std::size_t i = 0; i < git_index_entrycount(raw); ++i) {
    const git_index_entry* entry = git_index_get_byindex(raw, i);
    if (!is_marked_out(entry) || !is_in_worktree(repo, entry->path)) continue;
    const std::string path = entry->path;
    git_index_entry there = *entry;
    there.path = path.c_str();
    there.flags_extended &= static_cast<std::uint16_t>(~GIT_INDEX_ENTRY_SKIP_WORKTREE);
    if (git_index_add(raw, &there) != 0)  // in its place
      return tl::unexpected(fmt::format("read the index: {}", last_error()));
  }
  return {};
}

std::string other_encoding(git_repository* repo, unsigned flags, const char* path) {
  const char* encoding = nullptr;
  if (git_attr_get(&encoding, repo, flags, path, "working-tree-encoding") != 0 ||
      git_attr_value(encoding) != GIT_ATTR_VALUE_STRING)
    return "";
  const bool utf8 = ::strcasecmp(encoding, "UTF-8") == 0 || ::strcasecmp(encoding, "UTF8") == 0;
  return utf8 ? "" : encoding;
}

GitResult<Object> resolve(git_repository* repo, const std::string& rev) {
  git_object* raw = nullptr;
  if (const int failed = git_revparse_single(&raw, repo, rev.c_str()); failed != 0) {
    if (git_repository_head_unborn(repo) == 1)
      return tl::unexpected(fmt::format("{}: there are no commits yet", rev));
    if (auto why = read_failure(); !why.empty())
      return tl::unexpected(fmt::format("{}: {}", rev, why));
    if (failed != GIT_ENOTFOUND && failed != GIT_EINVALIDSPEC)
      return tl::unexpected(fmt::format("{}: {}", rev, last_error()));
    const auto colon = rev.find(':');
    git_object* tip = nullptr;
    if (colon != std::string::npos && colon > 0 &&
        git_revparse_single(&tip, repo, rev.substr(0, colon).c_str()) == 0) {
      git_object_free(tip);
      const auto path = rev.substr(colon + 1);
      const char* worktree = git_repository_workdir(repo);
      return tl::unexpected(fmt::format("{0} has no {1}; show {0}: lists what is there.{2}",
                                        rev.substr(0, colon), path,
                                        worktree ? path_hint(without_slash(worktree), path) : ""));
    }
    return tl::unexpected(
        fmt::format("{}: no such revision; log lists commits, branch branches", rev));
  }
  return Object(raw);
}

GitResult<Tree> tree_of(git_repository* repo, const std::string& rev) {
  auto object = resolve(repo, rev);
  if (!object) return tl::unexpected(object.error());
  git_object* raw = nullptr;
  if (git_object_peel(&raw, object->get(), GIT_OBJECT_TREE) != 0) {
    return tl::unexpected(fmt::format("{} is a file, not a commit; show prints it", rev));
  }
  return Tree(reinterpret_cast<git_tree*>(raw));
}

GitResult<Tree> head_tree(git_repository* repo) {
  if (git_repository_head_unborn(repo) == 1) return Tree();
  return tree_of(repo, "HEAD");
}

std::string head_name(git_repository* repo) {
  git_reference* raw = nullptr;
  if (git_reference_lookup(&raw, repo, "HEAD") != 0) return "";
  const Reference head(raw);
  const char* target = git_reference_symbolic_target(raw);
  const std::string_view name = target ? target : "";
  return std::string(name.starts_with("refs/heads/") ? name.substr(11) : name);
}

std::string short_id(git_object* object) {
  git_buf buffer = GIT_BUF_INIT;
  std::string id = git_oid_tostr_s(git_object_id(object));
  if (git_object_short_id(&buffer, object) == 0) id = buffer.ptr;
  git_buf_dispose(&buffer);
  return id;
}

}  // namespace lares::tools::git
