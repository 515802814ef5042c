#include "sandbox/start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "sandbox/open_files.h"

namespace lares::sandbox {
namespace {

struct Prepared {
  const char* path;
  char* const* argv;
  char* const* env;
  const char* cwd;  // null leaves it
  const std::pair<int, int>* fds;
  std::size_t n_fds;
  int fd_lowest_free;  // above every target in fds
  bool dies_with_parent;
  int parent;
};

// Runs between vfork and exec, in the parent's memory: system calls only. Returns only when one of
// them failed.
[[gnu::noinline]] void become(const Prepared& child) {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < 65; ++signal)
    ::sigaction(signal, &action, nullptr);  // EINVAL for the reserved ones
  if (child.dies_with_parent) {
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != child.parent) ::_exit(125);
  }
  // First out of the way of each other, then into place; dup2 drops CLOEXEC.
  std::array<int, 8> moved{};
  for (std::size_t i = 0; i < child.n_fds; ++i)
    if ((moved[i] = ::fcntl(child.fds[i].first, F_DUPFD_CLOEXEC, child.fd_lowest_free)) < 0) return;
  for (std::size_t i = 0; i < child.n_fds; ++i)
    if (::dup2(moved[i], child.fds[i].second) < 0) return;
  ::close_range(static_cast<unsigned>(child.fd_lowest_free), ~0u, CLOSE_RANGE_CLOEXEC);
  if (child.cwd && ::chdir(child.cwd) != 0) return;
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  usual_open_files();
  ::execve(child.path, child.argv, child.env);
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  for (const auto& word : words) out.push_back(const_cast<char*>(word.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

std::string find_program(const std::string& name, const std::vector<std::string>& env) {
  if (name.find('/') != name.npos) return name;
  for (const auto& variable : env) {
    if (!variable.starts_with("PATH=")) continue;
    for (std::size_t begin = 5; begin <= variable.size();) {
      const auto end = std::min(variable.find(':', begin), variable.size());
      const auto candidate = variable.substr(begin, end - begin) + "/" + name;
      std::error_code failed;
      if (std::filesystem::is_regular_file(candidate, failed) &&
          ::access(candidate.c_str(), X_OK) == 0)
        return candidate;
      begin = end + 1;
    }
  }
  return {};
}

Error no_such_program(const std::string& name) {
  return {Errc::unavailable, fmt::format("start '{}': not found in PATH", name)};
}

Result<Started> start(const StartOptions& options) {
  const auto path = find_program(options.path, options.env);
  if (path.empty()) return tl::unexpected(no_such_program(options.path));
  const auto argv = pointers(options.argv), env = pointers(options.env);
  Prepared child{.path = path.c_str(),
                 .argv = argv.data(),
                 .env = env.data(),
                 .cwd = options.cwd.empty() ? nullptr : options.cwd.c_str(),
                 .fds = options.fds.data(),
                 .n_fds = options.fds.size(),
                 .fd_lowest_free = 3,
                 .dies_with_parent = options.dies_with_parent,
                 .parent = static_cast<int>(::getpid())};
  if (options.fds.size() > 8)
    return tl::unexpected(Error{Errc::broken, "start: more than 8 descriptors to hand over"});
  for (const auto& [ours, theirs] : options.fds)
    child.fd_lowest_free = std::max(child.fd_lowest_free, theirs + 1);
  // vfork: the caller may hold the weights and KV cache of a model, and a fork would copy the page
  // tables of all of it. Signals stay blocked until the child has its own memory, for a handler
  // would run in ours.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  volatile int failed = 0;
  const pid_t pid = ::vfork();
  if (pid == 0) {
    become(child);
    failed = errno;
    ::_exit(127);
  }
  const int fork_failed = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0)
    return tl::unexpected(
        Error{Errc::broken, fmt::format("start '{}': fork: {}", path, ::strerror(fork_failed))});
  if (failed != 0) {
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return tl::unexpected(
        Error{Errc::unavailable, fmt::format("start '{}': {}", path, ::strerror(failed))});
  }
  // Nobody else reaps our children, so the number still means this process.
  Started out{.pid = pid, .pidfd = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
  if (!out.pidfd) {
    const int why = errno;
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return tl::unexpected(
        Error{Errc::unavailable,
              fmt::format("pidfd_open: {}; Linux 5.3 or newer is needed", ::strerror(why))});
  }
  return out;
}

}  // namespace lares::sandbox
