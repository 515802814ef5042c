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
#include <future>
#include <set>
#include <string_view>
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
constexpr std::size_t kNamesBytesMax = 256 << 10;  // of a file that names others
constexpr std::size_t kAlternatesMax = 1024;       // object stores; with more, git is not run

// Opened as soon as it is named, so that nobody exchanges what was looked at.
struct Place {
  Fd fd;
  std::string path;  // where that lies
  bool written = false;
  bool by_the_repository = false;  // what names it a command may have made
};

struct Reached {
  std::vector<Place> places;
  std::set<std::string> named;

  // False: it was. What is not there cannot be reached either.
  bool add(const std::string& path, bool written, bool by_the_repository, int flags = 0) {
    if (!named.insert(path).second) return false;
    Fd fd(::open(path.c_str(), O_PATH | O_CLOEXEC | flags));
    if (!fd) return true;
    std::error_code failed;
    auto real = fs::read_symlink(fmt::format("/proc/self/fd/{}", fd.get()), failed).native();
    if (!failed) places.push_back({std::move(fd), std::move(real), written, by_the_repository});
    return true;
  }
};

// Of a regular file; nobody waits for a pipe's writer. Paths of the kernel's length at most.
std::vector<std::string> lines_of(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  std::vector<std::string> out;
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return out;
  std::string text(std::min<std::size_t>(static_cast<std::size_t>(status.st_size), kNamesBytesMax),
                   '\0');
  const auto n = ::read(file.get(), text.data(), text.size());
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

// The object stores that this one borrows from, as git notes them. False: there are more than
// kAlternatesMax.
bool add_alternates(const fs::path& objects, Reached& out) {
  std::vector<fs::path> todo = {objects};
  for (std::size_t i = 0; i < todo.size(); ++i) {
    for (const auto& line : lines_of(todo[i] / "info/alternates")) {
      std::error_code failed;
      const fs::path store = todo[i] / line;  // an absolute one is itself
      if (line.empty() || line[0] == '#' || !fs::is_directory(store / "pack", failed)) continue;
      if (!out.add(store.native(), false, true)) continue;
      if (todo.size() == kAlternatesMax) return false;
      todo.push_back(store);
    }
  }
  return true;
}

// The .git files of the linked worktrees, for the branches that are checked out there. A directory
// of that name is another repository.
void add_worktrees(const fs::path& common, Reached& out) {
  std::error_code failed;
  for (fs::directory_iterator at(common / "worktrees", failed), end; !failed && at != end;
       at.increment(failed)) {
    const auto lines = lines_of(at->path() / "gitdir");
    struct stat status {};
    if (!lines.empty() && fs::path(lines[0]).filename() == ".git" &&
        ::lstat(lines[0].c_str(), &status) == 0 && S_ISREG(status.st_mode))
      out.add(lines[0], false, true, O_NOFOLLOW);
  }
}

void add_search_path(git_config_level_t level, Reached& out) {
  git_buf found = GIT_BUF_INIT;
  if (git_libgit2_opts(GIT_OPT_GET_SEARCH_PATH, level, &found) == 0 && found.ptr) {
    std::string_view rest(found.ptr, found.size);
    while (!rest.empty()) {
      const auto end = std::min(rest.find(':'), rest.size());
      if (end > 0) out.add(std::string(rest.substr(0, end)), false, false);
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  git_buf_dispose(&found);
}

// The files of patterns that settings name.
void add_named_by(git_config* config, bool by_the_repository, Reached& out) {
  for (const char* name : {"core.excludesFile", "core.attributesFile"}) {
    git_buf path = GIT_BUF_INIT;
    if (git_config_get_path(&path, config, name) == 0 && path.ptr && *path.ptr)
      out.add(path.ptr, false, by_the_repository);
    git_buf_dispose(&path);
  }
}

GitResult<Reached> reached_by(git_repository* repo) {
  Reached out;
  for (const char* system : {"/etc", "/usr", "/lib", "/lib64"}) out.add(system, false, false);
  add_search_path(GIT_CONFIG_LEVEL_XDG, out);
  git_buf found = GIT_BUF_INIT;
  if (git_config_find_global(&found) == 0) out.add(found.ptr, false, false);
  git_buf_dispose(&found);
  git_config* raw = nullptr;
  if (git_config_open_default(&raw) != 0) return tl::unexpected(last_error());
  const Owned<git_config, git_config_free> users(raw);
  add_named_by(raw, false, out);
  // Read here, so that what its files include need not be reached.
  if (git_repository_config_snapshot(&raw, repo) != 0) return tl::unexpected(last_error());
  const Owned<git_config, git_config_free> config(raw);
  add_named_by(raw, true, out);
  out.add(git_repository_workdir(repo), true, true);
  for (const char* dir : {git_repository_path(repo), git_repository_commondir(repo)}) {
    out.add(dir, true, true);
    for (const char* name : kMayBeLinks) out.add(std::string(dir) + name, true, true);
    if (!add_alternates(std::string(dir) + "objects", out))
      return tl::unexpected(
          fmt::format("git: the repository borrows from more than {} object stores "
                      "(objects/info/alternates); use git in bash to read it",
                      kAlternatesMax));
    add_worktrees(dir, out);
  }
  return out;
}

// Whether all that leads from the repository to other places is the user's: it was there before any
// command could change it, or lies where none can.
bool is_the_users(git_repository* repo, const std::string& root) {
  std::error_code failed;
  const auto top = fs::canonical(git_repository_workdir(repo), failed);
  if (failed) return false;
  if (top == fs::canonical(root, failed) || failed)
    return !sandbox::ControlPaths::of(root)->could_change_git();
  git_buf found = GIT_BUF_INIT;
  const bool same = git_repository_discover(&found, top.c_str(), 0, nullptr) == 0 &&
                    std::string_view(found.ptr, found.size) == git_repository_path(repo);
  git_buf_dispose(&found);
  return same;
}

// Asked when all is open: what leads elsewhere since then is not followed.
void leave_out_strangers(git_repository* repo, const std::string& root, Reached& reached) {
  if (is_the_users(repo, root)) return;
  std::error_code failed;
  const auto real_root = fs::canonical(root, failed).native();
  std::erase_if(reached.places, [&](const Place& place) {
    return place.by_the_repository && place.path != real_root &&
           !place.path.starts_with(real_root + "/");
  });
}

long landlock_abi() {
  return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

bool allow(int ruleset, const Fd& place, std::uint64_t access) {
  struct stat status {};
  if (::fstat(place.get(), &status) != 0) return true;
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
  for (const auto& place : reached.places)
    if (!allow(ruleset.get(), place.fd, place.written ? all : kReading)) return false;
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
  auto reached = reached_by(opened.repo.get());
  if (!reached) return tl::unexpected(reached.error());
  leave_out_strangers(opened.repo.get(), root, *reached);
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
