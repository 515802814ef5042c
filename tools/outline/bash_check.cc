#include "tools/outline/bash_check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "tools/fd.h"

namespace lares::tools {
namespace {

constexpr const char* kBash = "/bin/bash";
constexpr int kReadingKiBMax = 512 << 10, kReadingSecondsMax = 2;  // of memory; of the processor
constexpr int kSyntaxErrorsMax = 2;                     // exit statuses: 1 in an array, 2 elsewhere
constexpr std::chrono::milliseconds kLookInterval{10};  // for whether the look is cancelled

// The next word of a line that is taken off it.
std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  const auto word = line.substr(0, line.find_first_of(" \t\r"));
  line.remove_prefix(word.size());
  return word;
}

// By its first line, "#!/bin/sh -e" or "#!/usr/bin/env bash"; without one it is taken for bash's.
bool is_for_bash(std::string_view script) {
  if (!script.starts_with("#!")) return true;
  auto line = script.substr(2, script.find('\n') - 2);
  const auto name = [](std::string_view path) { return path.substr(path.rfind('/') + 1); };
  auto shell = name(take_word(line));
  while (shell == "env" || shell.starts_with('-')) shell = name(take_word(line));
  return shell == "bash" || shell == "sh" || shell == "dash";
}

Fd file_of(std::string_view text) {
  Fd file(::memfd_create("lares-script", MFD_CLOEXEC));
  for (std::size_t at = 0; file && at < text.size();) {
    const auto n = ::write(file.get(), text.data() + at, text.size() - at);
    if (n <= 0) return Fd();
    at += static_cast<std::size_t>(n);
  }
  if (file && ::lseek(file.get(), 0, SEEK_SET) != 0) return Fd();
  return file;
}

// Without the environment, which could name files to read first.
std::optional<pid_t> start(const Fd& script) {
  // The script may be anybody's: no core file, nor any other. Extended patterns are read where it
  // would first ask for them.
  const std::string reading = fmt::format(
      "cd /; ulimit -c 0 -f 0 -t {} -v {}; exec {} --norc --noprofile -n -O extglob",
      kReadingSecondsMax, kReadingKiBMax, kBash);
  const char* const argv[] = {"bash", "--norc", "--noprofile", "-c", reading.c_str(), nullptr};
  const char* const environment[] = {"LC_ALL=C.UTF-8", nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, script.get(), STDIN_FILENO);
  for (const int out : {STDOUT_FILENO, STDERR_FILENO})
    ::posix_spawn_file_actions_addopen(&actions, out, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, kBash, &actions, &attributes,
                                   const_cast<char* const*>(argv),
                                   const_cast<char* const*>(environment));
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  return failed ? std::nullopt : std::optional(pid);
}

}  // namespace

bool bash_refuses(std::string_view script, std::chrono::steady_clock::time_point deadline,
                  const std::atomic<bool>& cancelled) {
  if (!is_for_bash(script)) return false;
  const Fd file = file_of(script);
  const auto pid = file ? start(file) : std::nullopt;
  if (!pid) return false;
  const Fd ended(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
  pollfd until{.fd = ended.get(), .events = POLLIN, .revents = 0};
  while (ended && !cancelled && std::chrono::steady_clock::now() < deadline &&
         ::poll(&until, 1, static_cast<int>(kLookInterval.count())) <= 0) {
  }
  if (until.revents == 0) ::kill(*pid, SIGKILL);
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) > 0 && WEXITSTATUS(status) <= kSyntaxErrorsMax;
}

}  // namespace lares::tools
