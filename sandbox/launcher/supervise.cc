#include "sandbox/launcher/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kWatchPeriod{250};

}  // namespace

void tell_of_kill(int output, const std::string& why) {
  const int flags = ::fcntl(output, F_GETFL);
  if (flags < 0 || ::fcntl(output, F_SETFL, flags | O_NONBLOCK) != 0) return;
  const auto line = fmt::format("\nsandbox: killed, the command's processes {}\n", why);
  if (write_all(output, line) || errno != EAGAIN) return;
  const int size = ::fcntl(output, F_GETPIPE_SZ);
  if (size > 0 && ::fcntl(output, F_SETPIPE_SZ, 2 * size) > size) write_all(output, line);
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

void supervise(pid_t pid, Fd pidfd, int status, const Later& later,
               const std::function<std::string()>& over) {
  const Fd output(over ? ::fcntl(2, F_DUPFD_CLOEXEC, 3) : -1);
  close_streams();
  bool killed = false;
  std::string why;
  const auto kill = [&] {
    killed = true;
    pidfd_send_signal(pidfd.get(), SIGKILL);
  };
  for (auto look_at = Clock::now() + kWatchPeriod;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(look_at - Clock::now()).count();
    pollfd wait[2] = {{pidfd.get(), POLLIN, 0}, {killed ? -1 : kControlFd, POLLIN, 0}};
    const int patience = over && !killed ? static_cast<int>(std::max<std::int64_t>(left, 0)) : -1;
    if (::poll(wait, 2, patience) < 0 && errno != EINTR) fail_errno("internal", "poll");
    if (wait[0].revents != 0) break;
    // By the clock: one who is asked for something all the time would else never look.
    if (over && !killed && Clock::now() >= look_at) {
      why = over();
      if (!why.empty()) {
        kill();
        continue;
      }
      look_at = Clock::now() + kWatchPeriod;
    }
    if ((wait[1].revents & POLLIN) != 0 && later.serve()) continue;
    if (wait[1].revents != 0) kill();  // the daemon closed its end, or died
  }
  int ended = 0;
  while (::waitpid(pid, &ended, 0) < 0)
    if (errno != EINTR) fail_errno("internal", "wait for the sandbox");
  // A namespace's PID 1 is only gone when all in it are; bubblewrap's helper process may be
  // outlived by it.
  while (::waitpid(-1, nullptr, 0) >= 0 || errno == EINTR) {
  }
  if (!why.empty()) tell_of_kill(output.get(), why);
  int reported;
  if (status >= 0 && ::read(status, &reported, sizeof reported) == sizeof reported)
    ended = reported;
  end_as(ended);
}

}  // namespace lares::sandbox::launcher
