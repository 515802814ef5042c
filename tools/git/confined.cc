#include "tools/git/confined.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "sandbox/control_paths.h"
#include "tools/fd.h"
#include "tools/git/impatience.h"

namespace lares::tools::git {
namespace {

namespace fs = std::filesystem;

// Before this one it allows no renaming from one directory to another, by which libgit2 stores an
// object.
constexpr long kAbiLeast = 2;
constexpr std::uint64_t kRefer = 1ull << 13, kTruncate = 1ull << 14;  // of ABI 2 and 3
constexpr std::uint64_t kOfFiles = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                   LANDLOCK_ACCESS_FS_READ_FILE | kTruncate;
constexpr std::uint64_t kReading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
// Of a git directory, what may be a link to another one's (git-new-workdir).
constexpr std::array kMayBeLinks = {"config", "HEAD",      "index",       "info", "logs",
                                    "hooks",  "logs/refs", "packed-refs", "refs", "objects"};
constexpr std::size_t kAlternatesMax = 1024;  // object stores; with more, git is not run

struct Reached {
  std::set<std::string> written, read;
};

// The object stores that this one borrows from, as git notes them. False: there are more than
// kAlternatesMax.
bool add_alternates(const fs::path& objects, Reached& out) {
  std::vector<fs::path> todo = {objects};
  for (std::size_t i = 0; i < todo.size(); ++i) {
    std::ifstream file(todo[i] / "info/alternates");
    for (std::string line; std::getline(file, line);) {
      std::error_code failed;
      const fs::path store = todo[i] / line;  // an absolute one is itself
      if (line.empty() || line[0] == '#' || !fs::is_directory(store / "pack", failed)) continue;
      if (!out.read.insert(store.native()).second) continue;
      if (todo.size() == kAlternatesMax) return false;
      todo.push_back(store);
    }
  }
  return true;
}

// The .git files of the linked worktrees, for the branches that are checked out there.
void add_worktrees(const fs::path& common, Reached& out) {
  std::error_code failed;
  for (fs::directory_iterator at(common / "worktrees", failed), end; !failed && at != end;
       at.increment(failed)) {
    std::ifstream file(at->path() / "gitdir");
    std::string line;
    if (std::getline(file, line) && fs::path(line).filename() == ".git") out.read.insert(line);
  }
}

void add_search_path(git_config_level_t level, Reached& out) {
  git_buf found = GIT_BUF_INIT;
  if (git_libgit2_opts(GIT_OPT_GET_SEARCH_PATH, level, &found) == 0 && found.ptr) {
    std::string_view rest(found.ptr, found.size);
    while (!rest.empty()) {
      const auto end = std::min(rest.find(':'), rest.size());
      if (end > 0) out.read.insert(std::string(rest.substr(0, end)));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  git_buf_dispose(&found);
}

GitResult<Reached> reached_by(git_repository* repo) {
  Reached out;
  out.written.insert(git_repository_workdir(repo));
  for (const char* dir : {git_repository_path(repo), git_repository_commondir(repo)}) {
    out.written.insert(dir);
    for (const char* name : kMayBeLinks) out.written.insert(std::string(dir) + name);
    if (!add_alternates(std::string(dir) + "objects", out))
      return tl::unexpected(
          fmt::format("git: the repository borrows from more than {} object stores "
                      "(objects/info/alternates); use git in bash to read it",
                      kAlternatesMax));
    add_worktrees(dir, out);
  }
  for (const char* system : {"/etc", "/usr", "/lib", "/lib64"}) out.read.insert(system);
  add_search_path(GIT_CONFIG_LEVEL_XDG, out);
  git_buf found = GIT_BUF_INIT;
  if (git_config_find_global(&found) == 0) out.read.insert(found.ptr);
  git_buf_dispose(&found);
  // Read here, so that what its files include need not be reached.
  git_config* raw = nullptr;
  if (git_repository_config_snapshot(&raw, repo) != 0) return tl::unexpected(last_error());
  const Owned<git_config, git_config_free> config(raw);
  for (const char* name : {"core.excludesFile", "core.attributesFile"}) {
    git_buf path = GIT_BUF_INIT;
    if (git_config_get_path(&path, raw, name) == 0 && path.ptr && *path.ptr)
      out.read.insert(path.ptr);
    git_buf_dispose(&path);
  }
  return out;
}

long landlock_abi() {
  return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

// What is not there cannot be reached either.
bool allow(int ruleset, const std::string& path, std::uint64_t access) {
  const Fd place(::open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat status {};
  if (!place || ::fstat(place.get(), &status) != 0) return true;
  if (!S_ISDIR(status.st_mode)) access &= kOfFiles;
  landlock_path_beneath_attr rule{};
  rule.allowed_access = access;
  rule.parent_fd = place.get();
  return ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}

// Of the calling thread alone, for as long as it lives.
bool confine(const Reached& reached) {
  landlock_ruleset_attr wanted{};
  wanted.handled_access_fs = ((1ull << 13) - 1) | kRefer | (landlock_abi() >= 3 ? kTruncate : 0);
  const std::uint64_t all = wanted.handled_access_fs;
  const Fd ruleset(static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, &wanted, sizeof wanted.handled_access_fs, 0)));
  if (!ruleset) return false;
  for (const auto& path : reached.written)
    if (!allow(ruleset.get(), path, all)) return false;
  for (const auto& path : reached.read)
    if (!allow(ruleset.get(), path, kReading)) return false;
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) == 0;
}

constexpr auto kLookEvery = std::chrono::milliseconds(100);

}  // namespace

GitResult<std::string> confined(const Opened& opened, const std::string& root,
                                const std::function<bool()>& given_up,
                                const std::function<GitResult<std::string>()>& work) {
  const bool can_be_kept = landlock_abi() >= kAbiLeast;
  if (!can_be_kept && sandbox::ControlPaths::of(root)->is_busy())
    return tl::unexpected(
        std::string("git: commands run in the background here, and this kernel (without Landlock, "
                    "or older than 5.19) cannot keep them from leading git elsewhere; end them "
                    "first"));
  const auto reached = reached_by(opened.repo.get());
  if (!reached) return tl::unexpected(reached.error());
  std::packaged_task<GitResult<std::string>()> task([&]() -> GitResult<std::string> {
    can_be_interrupted();
    if (can_be_kept && !confine(*reached))
      return tl::unexpected(
          std::string("git: this kernel did not confine it to the repository (Landlock); use git "
                      "in bash to read "
                      "it"));
    return work();
  });
  auto result = task.get_future();
  std::thread thread(std::move(task));
  while (result.wait_for(kLookEvery) != std::future_status::ready)
    if (given_up()) ::pthread_kill(thread.native_handle(), kInterrupt);
  thread.join();
  return result.get();
}

}  // namespace lares::tools::git
