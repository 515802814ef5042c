#include "sandbox/launcher/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <vector>

#include "sandbox/launcher/supervise.h"
#include "sandbox/launcher/sys.h"
#include "sandbox/spec.h"
#include "sandbox/tree.h"

namespace lares::sandbox::launcher {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kLookAgainMs = 2;

// The parent of a process, 0 when it is gone. Its name, which comes before, may hold anything.
pid_t parent_of(const char* pid) {
  const auto text = text_of(fmt::format("/proc/{}/stat", pid));
  const auto after_name = text.rfind(')');
  int parent = 0;
  if (after_name == text.npos || ::sscanf(text.c_str() + after_name + 1, " %*c %d", &parent) != 1)
    return 0;
  return parent;
}

void kill_descendants() {
  std::multimap<pid_t, pid_t> children;
  DIR* proc = ::opendir("/proc");
  while (const dirent* entry = proc ? ::readdir(proc) : nullptr) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    if (const pid_t parent = parent_of(entry->d_name); parent > 0)
      children.emplace(parent, ::atoi(entry->d_name));
  }
  if (proc) ::closedir(proc);
  std::vector<pid_t> tree{::getpid()};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const auto [first, last] = children.equal_range(tree[i]);
    for (auto child = first; child != last; ++child) {
      tree.push_back(child->second);
      // Its parent may have reaped it since, and its number be another's: what has the number now
      // must still have the parent.
      const Fd pidfd(pidfd_open(child->second));
      if (pidfd && parent_of(fmt::format("{}", child->second).c_str()) == child->first)
        pidfd_send_signal(pidfd.get(), SIGKILL);
    }
  }
}

// Reaps who has ended; false: nobody is left. `status`: of `program`, once it is among them.
bool reap(pid_t program, int& status) {
  for (int ended = 0;;) {
    const pid_t pid = ::waitpid(-1, &ended, WNOHANG | __WALL);
    if (pid == program) status = ended;
    if (pid == 0) return true;
    if (pid < 0 && errno != EINTR) return false;
  }
}

// The program, before it is one.
[[noreturn]] void become(char** argv, pid_t launcher) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launcher) ::_exit(kExitSetupFailed);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::close(kTreeLifeFd);
  ::fcntl(kTreeReportFd, F_SETFD, FD_CLOEXEC);
  ::execvp(argv[0], argv);
  const int error = errno;
  (void)!::write(kTreeReportFd, &error, sizeof error);
  ::_exit(kExitNotFound);
}

}  // namespace

void run_tree(char** argv) {
  ::close_range(kTreeReportFd + 1, ~0u, 0);
  if (!argv[0] || ::fcntl(kTreeLifeFd, F_SETFD, FD_CLOEXEC) != 0)
    fail("internal", "--tree: no program, or nothing on descriptor {}; laresd starts this",
         kTreeLifeFd);
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) fail_errno("internal", "become a subreaper");
  sigset_t polite;
  ::sigemptyset(&polite);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&polite, signal);
  ::sigprocmask(SIG_SETMASK, &polite, nullptr);
  const Fd signals(::signalfd(-1, &polite, SFD_CLOEXEC));
  int raw = -1;
  const pid_t self = ::getpid(), program = clone_with(0, &raw);
  if (!signals || program < 0) fail_errno("internal", "start the program");
  if (program == 0) become(argv, self);
  ::setpgid(program, program);
  ::close(kTreeReportFd);
  const Fd pidfd(raw);
  close_streams();
  for (;;) {
    pollfd wait[] = {
        {pidfd.get(), POLLIN, 0}, {kTreeLifeFd, POLLIN, 0}, {signals.get(), POLLIN, 0}};
    if (::poll(wait, 3, -1) < 0 && errno != EINTR) break;
    if (wait[0].revents != 0 || wait[1].revents != 0) break;
    signalfd_siginfo signal;
    if (wait[2].revents != 0 && ::read(signals.get(), &signal, sizeof signal) == sizeof signal)
      ::kill(-program, static_cast<int>(signal.ssi_signo));
  }
  int status = SIGKILL;  // as wait() writes it, where the program outlives even that
  for (const auto until = Clock::now() + kTreeEndsWithin;
       reap(program, status) && Clock::now() < until; ::poll(nullptr, 0, kLookAgainMs))
    kill_descendants();
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  end_as(status);
}

}  // namespace lares::sandbox::launcher
