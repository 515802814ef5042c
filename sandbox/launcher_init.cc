#include "sandbox/launcher_init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "sandbox/launcher_sys.h"

namespace lares::sandbox::launcher {
namespace {

constexpr timespec kWatchPeriod = {0, 250'000'000};

struct Tree {
  std::uint64_t bytes = 0;  // resident private: what is shared with files can be dropped, and tmpfs has sizes of its own
  std::uint64_t n_processes = 0;
};

Tree measure() {
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  if (!proc) return {};
  std::uint64_t pages = 0, n_processes = 0;
  while (const dirent* entry = ::readdir(proc.get())) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    const Fd file(::open(fmt::format("/proc/{}/statm", entry->d_name).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) continue;
    ++n_processes;
    unsigned long long size = 0, resident = 0, shared = 0;
    if (::sscanf(read_file(file.get(), 256).c_str(), "%llu %llu %llu", &size, &resident, &shared) == 3 && resident > shared)
      pages += resident - shared;
  }
  return {pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)), n_processes};
}

// Why the tree must end, or "". RLIMIT_NPROC does not count what is the host's root by number, hence the second look.
std::string over_limit(const Spec& spec) {
  const auto tree = measure();
  if (tree.bytes > spec.memory_bytes) return fmt::format("use more than {} MiB of memory together", spec.memory_bytes >> 20);
  if (tree.n_processes > spec.n_processes + 1) return fmt::format("are more than {}", spec.n_processes);
  return {};
}

[[noreturn]] void become_command(const Spec& spec) {
  ::setsid();
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> argv, env;
  for (const auto& word : spec.argv) argv.push_back(const_cast<char*>(word.c_str()));
  for (const auto& variable : spec.env) {
    env.push_back(const_cast<char*>(variable.c_str()));
    if (variable.starts_with("PATH=")) ::setenv("PATH", variable.c_str() + 5, 1);  // where execvpe looks
  }
  argv.push_back(nullptr);
  env.push_back(nullptr);
  ::execvpe(argv[0], argv.data(), env.data());
  write_all(2, fmt::format("{}: {}\n", spec.argv[0], errno_text(errno)));
  ::_exit(errno == ENOENT ? kExitNotFound : kExitNotFound - 1);
}

void report(int status, int ended) { (void)!::write(status, &ended, sizeof ended); }

}  // namespace

void run_as_init(const Spec& spec, const std::string& facts, int status) {
  ::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
  sigset_t child_signal;
  ::sigemptyset(&child_signal);
  ::sigaddset(&child_signal, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child_signal, nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) fail_errno("internal", "fork the command");
  if (pid == 0) become_command(spec);
  // Commands share our uid; they shall not read or trace us.
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) fail_errno("internal", "PR_SET_DUMPABLE");
  const auto line = fmt::format("{}{}\n", kReplyStarted, facts);
  (void)!::send(kControlFd, line.data(), line.size(), MSG_NOSIGNAL);
  ::close(kControlFd);
  ::close(0);
  ::close(1);
  for (;;) {
    int ended;
    pid_t gone;
    while ((gone = ::waitpid(-1, &ended, WNOHANG)) > 0)
      if (gone == pid) {
        report(status, ended);
        ::_exit(0);
      }
    if (gone < 0 && errno == ECHILD) ::_exit(kExitSetupFailed);
    if (::sigtimedwait(&child_signal, nullptr, &kWatchPeriod) >= 0 || errno != EAGAIN) continue;
    if (const auto why = over_limit(spec); !why.empty()) {
      write_all(2, fmt::format("\nsandbox: killed, the command's processes {}\n", why));
      report(status, SIGKILL);
      ::_exit(0);
    }
  }
}

}  // namespace lares::sandbox::launcher
