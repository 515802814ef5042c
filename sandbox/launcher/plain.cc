#include "sandbox/launcher/plain.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "sandbox/launcher/supervise.h"
#include "sandbox/launcher/sys.h"

namespace lares::sandbox::launcher {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  for (const auto& word : words) out.push_back(const_cast<char*>(word.c_str()));
  out.push_back(nullptr);
  return out;
}

// The command may signal its whole group, which we are in.
void heed_signals(sighandler_t how) {
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM})
    ::signal(signal, how);
}

// `failed` closes when the command's program runs; else it is told why it does not.
[[noreturn]] void become_command(const Spec& spec, pid_t parent, mode_t mask, int failed) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kExitSetupFailed);
  ::umask(mask);
  heed_signals(SIG_DFL);
  for (const auto& variable : spec.env)
    if (variable.starts_with("PATH="))
      ::setenv("PATH", variable.c_str() + 5, 1);  // where execvpe looks
  if (::chdir(spec.cwd.c_str()) == 0)
    ::execvpe(spec.argv[0].c_str(), pointers(spec.argv).data(), pointers(spec.env).data());
  const int error = errno;
  (void)!::write(failed, &error, sizeof error);
  ::_exit(kExitSetupFailed);
}

bool daemon_is_gone(int wait_ms) {
  pollfd control{kControlFd, POLLIN, 0};
  return ::poll(&control, 1, wait_ms) > 0 && control.revents != 0;
}

}  // namespace

void run_plain(const Spec& spec, mode_t mask) {
  // We outlive the daemon for as long as it takes to kill what it started.
  if (::prctl(PR_SET_PDEATHSIG, 0) != 0) fail_errno("internal", "PR_SET_PDEATHSIG");
  if (::getpgrp() != ::getpid()) fail("internal", "no process group of its own");
  if (daemon_is_gone(0)) ::_exit(kExitSetupFailed);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail_errno("internal", "pipe");
  const Fd failed_read(ends[0]);
  Fd failed_write(ends[1]);
  const pid_t parent = ::getpid();
  heed_signals(SIG_IGN);
  int raw = -1;
  const pid_t pid = clone_with(0, &raw);
  if (pid < 0) fail_errno("internal", "fork the command");
  if (pid == 0) become_command(spec, parent, mask, failed_write.get());
  failed_write = Fd();
  int error = 0;
  if (::read(failed_read.get(), &error, sizeof error) == sizeof error) {
    errno = error;
    fail_errno("program", "start '{}' in {}", spec.argv[0], spec.cwd);
  }
  const char started[] = {kReplyStarted, '\n'};
  (void)!::send(kControlFd, started, sizeof started, MSG_NOSIGNAL);
  close_streams();
  const Fd ended(raw);
  for (;;) {
    pollfd wait[2] = {{ended.get(), POLLIN, 0}, {kControlFd, POLLIN, 0}};
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) fail_errno("internal", "poll");
    if (wait[0].revents != 0) break;
    if (wait[1].revents != 0) ::kill(0, SIGKILL);  // ourselves too
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) fail_errno("internal", "wait for the command");
  end_as(status);
}

}  // namespace lares::sandbox::launcher
