#include "daemon/cli/terminal/pager.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "daemon/repository.h"
#include "sandbox/search_path.h"

extern char** environ;

namespace lares::cli {
namespace {

constexpr const char* kPagerDefault = "less";
constexpr const char* kLessOptions = "FRX";  // as git: leave at once when it fits, colours, no
                                             // other screen
// $1, a command line. One that is not there has read nothing, so its text is printed instead, after
// what the shell says of it. At Ctrl-C both shells wait for a reader that stays (dash and bash do).
constexpr const char* kPageOrPrint = "(eval \"$1\"); case $? in 126|127) cat;; esac";

// Its file; "" where there is none but what the repository may have in PATH.
std::string default_pager() {
  const char* const path = std::getenv("PATH");
  std::error_code failed;
  const auto here = daemon::repository_root(std::filesystem::current_path(failed).string());
  if (!path || !here) return "";
  // Where there is no repository, no directory is one's
  return sandbox::program_outside(kPagerDefault, path, here->git ? here->root : "\n");
}

}  // namespace

Pager::Pager() : fd_(STDOUT_FILENO) {
  const char* set = std::getenv("PAGER");
  const char* term = std::getenv("TERM");
  const bool dumb = !term || std::string_view(term) == "dumb";
  if (::isatty(STDOUT_FILENO) != 1 || ::isatty(STDIN_FILENO) != 1 || dumb ||
      (set && (!*set || std::string_view(set) == "cat")))
    return;
  const std::string file = set ? "" : default_pager();
  if (!set && file.empty()) return;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  ::setenv("LESS", kLessOptions, /*overwrite=*/0);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
  sigset_t defaults;
  ::sigemptyset(&defaults);
  ::sigaddset(&defaults, SIGPIPE);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  const char* const argv[] = {
      "sh", "-c", kPageOrPrint, set ? "sh" : file.c_str(), set ? set : "\"$0\"", nullptr};
  const int failed = ::posix_spawn(&pid_, "/bin/sh", &actions, &attributes,
                                   const_cast<char* const*>(argv), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[0]);
  if (failed == 0) {
    fd_ = ends[1];
  } else {
    pid_ = 0;
    ::close(ends[1]);
  }
}

Pager::~Pager() {
  if (pid_ == 0) return;
  ::close(fd_);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace lares::cli
