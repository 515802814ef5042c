#include "sandbox/launcher/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

namespace {

constexpr int kWatchPeriodMs = 250;

}  // namespace

std::string told_of_kill(const std::string& why) {
  return fmt::format("\nsandbox: killed, the command's processes {}\n", why);
}

void end_as(int status) {
  if (WIFSIGNALED(status)) {
    ::signal(WTERMSIG(status), SIG_DFL);
    ::raise(WTERMSIG(status));
    ::_exit(128 + WTERMSIG(status));  // for signals whose default is not to die
  }
  ::_exit(WEXITSTATUS(status));
}

void close_streams() {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {0, 1, 2})
    if (null < 0 || ::dup2(null, fd) < 0) fail_errno("internal", "close the streams");
}

void supervise(pid_t pid, Fd pidfd, int status, const Later& later, Growth* growth) {
  const Fd output(growth ? ::fcntl(2, F_DUPFD_CLOEXEC, 3) : -1);
  close_streams();
  bool killed = false;
  for (;;) {
    pollfd wait[2] = {{pidfd.get(), POLLIN, 0}, {killed ? -1 : kControlFd, POLLIN, 0}};
    const int ready = ::poll(wait, 2, growth && !killed ? kWatchPeriodMs : -1);
    if (ready < 0 && errno != EINTR) fail_errno("internal", "poll");
    if (wait[0].revents != 0) break;
    const auto why = ready == 0 ? growth->over() : "";
    if (!why.empty()) write_all(output.get(), told_of_kill(why));
    const bool asked = (wait[1].revents & POLLIN) != 0 && why.empty();
    if (asked && later.serve()) continue;
    if (!why.empty() || wait[1].revents != 0) {  // or the daemon closed its end, or died
      killed = true;
      pidfd_send_signal(pidfd.get(), SIGKILL);
    }
  }
  int ended = 0;
  while (::waitpid(pid, &ended, 0) < 0)
    if (errno != EINTR) fail_errno("internal", "wait for the sandbox");
  // A namespace's PID 1 is only gone when all in it are; bubblewrap's helper process may be
  // outlived by it.
  while (::waitpid(-1, nullptr, 0) >= 0 || errno == EINTR) {
  }
  int reported;
  if (status >= 0 && ::read(status, &reported, sizeof reported) == sizeof reported)
    ended = reported;
  end_as(ended);
}

}  // namespace lares::sandbox::launcher
