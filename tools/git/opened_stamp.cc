#include "tools/git/opened_stamp.h"

#include <git2.h>
#include <sys/stat.h>

#include <functional>
#include <string_view>

#include "tools/git/repo.h"
#include "tools/workspace/file_stamp.h"

namespace lares::tools::git {
namespace {

std::uint64_t stamp(std::uint64_t hash, const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 ? mixed(hash, stamp_of(st)) : mixed(hash, 1);
}

// Of all settings: files that others include have no stamp here.
std::uint64_t of_settings(git_repository* repository, std::uint64_t hash) {
  git_config* raw = nullptr;
  if (git_repository_config_snapshot(&raw, repository) != 0) return mixed(hash, 1);
  const Owned<git_config, git_config_free> config(raw);
  git_config_foreach(
      raw,
      [](const git_config_entry* entry, void* payload) {
        auto& all = *static_cast<std::uint64_t*>(payload);
        for (const char* text : {entry->name, entry->value})
          all = mixed(all, text ? std::hash<std::string_view>{}(text) : 1);
        return 0;
      },
      &hash);
  return hash;
}

}  // namespace

std::uint64_t opened_stamp(git_repository* repository, const std::string& root) {
  const std::string own = git_repository_path(repository),
                    common = git_repository_commondir(repository);
  std::uint64_t hash = 3;
  for (std::string at = root;;) {  // a repository that is nearer, or another one in its place
    struct stat st {};
    const bool there = ::lstat((at + "/.git").c_str(), &st) == 0;
    hash = mixed(mixed(hash, there ? st.st_ino : 0), there ? st.st_dev : 0);
    hash = mixed(hash, there ? st.st_uid : 0);
    if (there && !S_ISDIR(st.st_mode)) hash = mixed(hash, stamp_of(st));
    if (there) hash = stamp(hash, at + "/.git/HEAD");
    const std::size_t slash = at.rfind('/');
    if (slash == std::string::npos || at.empty()) break;
    at.resize(slash);
  }
  for (const std::string& file : {own + "HEAD", own + "commondir", own + "config.worktree",
                                  common + "config", common + "objects/info/alternates"})
    hash = stamp(hash, file);
  struct stat top {};
  const char* const workdir = git_repository_workdir(repository);
  if (workdir && ::stat(workdir, &top) == 0) hash = mixed(hash, top.st_uid);
  for (const auto find : {git_config_find_global, git_config_find_xdg, git_config_find_system}) {
    git_buf found = GIT_BUF_INIT;
    if (find(&found) == 0) hash = stamp(hash, found.ptr);
    git_buf_dispose(&found);
  }
  return of_settings(repository, hash);
}

}  // namespace lares::tools::git
