#include "tools/git/owner.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "tools/git/repo.h"

namespace lares::tools::git {
namespace {

// As git: system and global configuration only, never the repository's own.
bool is_safe_directory(const std::string& worktree) {
  git_config* raw = nullptr;
  if (git_config_open_default(&raw) != 0) return false;
  Owned<git_config, git_config_free> config(raw);
  struct Search {
    std::string worktree;
    bool found = false;
  } search{worktree};
  git_config_get_multivar_foreach(
      config.get(), "safe.directory", nullptr,
      [](const git_config_entry* entry, void* payload) {
        auto& s = *static_cast<Search*>(payload);
        std::string_view value = entry->value ? entry->value : "";
        if (value.empty()) {
          s.found = false;  // an empty value takes back what came before it
        } else if (value.ends_with("/*")) {
          value.remove_suffix(1);
          s.found = s.found || s.worktree.starts_with(value);
        } else {
          while (value.size() > 1 && value.ends_with('/')) value.remove_suffix(1);
          s.found = s.found || value == "*" || value == s.worktree;
        }
        return 0;
      },
      &search);
  return search.found;
}

}  // namespace

tl::expected<void, std::string> check_owner(git_repository* repository) {
  const std::string git_directory = git_repository_path(repository);
  const char* const workdir = git_repository_workdir(repository);  // null: it is bare
  std::string worktree = workdir ? workdir : git_directory;
  while (worktree.size() > 1 && worktree.ends_with('/')) worktree.pop_back();
  struct stat tree {
  }, directory{};
  if (::stat(worktree.c_str(), &tree) != 0 || ::stat(git_directory.c_str(), &directory) != 0) {
    return tl::unexpected(fmt::format("{} cannot be read", git_directory));
  }
  const auto trusted = [](uid_t owner) {
    if (owner == ::geteuid()) return true;
    const char* sudo = ::geteuid() == 0 ? std::getenv("SUDO_UID") : nullptr;
    return sudo && std::to_string(owner) == sudo;
  };
  if (trusted(tree.st_uid) && trusted(directory.st_uid)) return {};
  if (is_safe_directory(worktree)) return {};
  const uid_t owner = trusted(tree.st_uid) ? directory.st_uid : tree.st_uid;
  return tl::unexpected(
      fmt::format("{} belongs to user {}, and Lares runs as user {}; whoever runs Lares can say "
                  "that it is trusted: git config --global --add safe.directory {}",
                  worktree, owner, ::geteuid(), worktree));
}

}  // namespace lares::tools::git
