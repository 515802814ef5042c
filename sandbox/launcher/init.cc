#include "sandbox/launcher/init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <vector>

#include "sandbox/launcher/growth.h"
#include "sandbox/launcher/lockdown.h"
#include "sandbox/launcher/supervise.h"
#include "sandbox/launcher/sys.h"
#include "sandbox/launcher/watch.h"

namespace lares::sandbox::launcher {
namespace {

constexpr std::int64_t kWatchPeriodNs = 250'000'000;
constexpr std::int64_t kIdlePeriodNs = 1'000'000'000;  // where the kernel holds the memory
constexpr std::int64_t kEndNs = 1'000'000'000;         // for the killed ones to be gone
constexpr std::int64_t kReapEveryNs = 10'000'000;

std::int64_t now_ns() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

struct Command {
  std::vector<char*> argv, env;
  explicit Command(const Spec& spec) {
    for (const auto& word : spec.argv) argv.push_back(const_cast<char*>(word.c_str()));
    for (const auto& variable : spec.env) {
      env.push_back(const_cast<char*>(variable.c_str()));
      if (variable.starts_with("PATH="))
        ::setenv("PATH", variable.c_str() + 5, 1);  // where execvpe looks
    }
    argv.push_back(nullptr);
    env.push_back(nullptr);
  }
};

// Runs between vfork and exec, in the parent's memory. A function of its own, for what it leaves on
// the stack.
[[noreturn, gnu::noinline]] void become_command(const Spec& spec, const Command& command,
                                                const CommandGroup& group) {
  group.join();
  if (!limit_cpu(spec)) {
    write_all(2, "sandbox: cannot limit CPU time\n");
    ::_exit(kExitSetupFailed);
  }
  step_back();
  ::setsid();
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execvpe(command.argv[0], command.argv.data(), command.env.data());
  const int error = errno;
  write_all(2, fmt::format("{}: {}\n", command.argv[0], errno_text(error)));
  ::_exit(error == ENOENT ? kExitNotFound : kExitNotFound - 1);
}

void report(int status, int ended) { (void)!::write(status, &ended, sizeof ended); }

}  // namespace

void run_as_init(const Spec& spec, const std::string& facts, CommandGroup group, int status) {
  ::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
  sigset_t child_signal;
  ::sigemptyset(&child_signal);
  ::sigaddset(&child_signal, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child_signal, nullptr);
  // Commands share our uid; they shall not read or trace us. A new program is dumpable again.
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) fail_errno("internal", "PR_SET_DUMPABLE");
  const Command command(spec);
  Growth growth(spec, 1);
  const Watch watch = Watch::of_namespace(spec);
  const pid_t pid = ::vfork();  // a copy of our memory takes longer than the program's start
  if (pid < 0) fail_errno("internal", "fork the command");
  if (pid == 0) become_command(spec, command, group);
  const auto line = fmt::format("{}{}\n", kReplyStarted, facts);
  (void)!::send(kControlFd, line.data(), line.size(), MSG_NOSIGNAL);
  ::close(kControlFd);
  ::close(0);
  ::close(1);
  const auto end = [&](int ended, const std::string& why) {
    if (!why.empty()) {
      ::kill(-1, SIGKILL);
      // Whoever was about to write still does when there is room.
      const auto until = now_ns() + kEndNs;
      while (::waitpid(-1, nullptr, WNOHANG) >= 0 && now_ns() < until) {
        const timespec wait{0, kReapEveryNs};
        ::sigtimedwait(&child_signal, nullptr, &wait);
      }
      tell_of_kill(2, why);
    }
    report(status, ended);
    ::_exit(0);
  };
  for (std::int64_t look_at = now_ns() + kWatchPeriodNs;;) {
    int ended;
    pid_t gone;
    while ((gone = ::waitpid(-1, &ended, WNOHANG)) > 0)
      if (gone == pid) end(ended, group.out_of_memory() ? too_much_memory(spec) : "");
    if (gone < 0 && errno == ECHILD) ::_exit(kExitSetupFailed);
    // By the clock: one whose orphans end all the time would else never be looked at.
    if (const auto left = look_at - now_ns(); left > 0) {
      const timespec wait{left / 1'000'000'000, left % 1'000'000'000};
      ::sigtimedwait(&child_signal, nullptr, &wait);
      continue;
    }
    std::string why = growth.over();
    if (why.empty() && !spec.cgroup_limits) why = watch.over_limit();
    if (!why.empty()) end(SIGKILL, why);
    look_at = now_ns() + (spec.cgroup_limits && growth.idle() ? kIdlePeriodNs : kWatchPeriodNs);
  }
}

}  // namespace lares::sandbox::launcher
