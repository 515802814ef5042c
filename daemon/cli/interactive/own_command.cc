#include "daemon/cli/interactive/own_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tools/clip.h"
#include "tools/fd.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

// The terminal's foreground belongs to the command while this lives.
class Foreground {
 public:
  explicit Foreground(int tty) : tty_(::tcgetpgrp(tty) == ::getpgrp() ? tty : -1) {}
  ~Foreground() {
    if (tty_ < 0) return;
    const auto before = std::signal(SIGTTOU, SIG_IGN);  // this process is in the background now
    ::tcsetpgrp(tty_, ::getpgrp());
    std::signal(SIGTTOU, before);
  }
  Foreground(const Foreground&) = delete;
  Foreground& operator=(const Foreground&) = delete;

  int tty() const { return tty_; }  // -1: it is not this process's to give

 private:
  int tty_;
};

std::string ended_how(int status) {
  if (WIFSIGNALED(status)) {
    const char* const name = ::sigabbrev_np(WTERMSIG(status));
    return name ? fmt::format("killed by SIG{}", name)
                : fmt::format("killed by signal {}", WTERMSIG(status));
  }
  return WEXITSTATUS(status) == 0 ? "" : fmt::format("exit status {}", WEXITSTATUS(status));
}

// The error's number; 0: `pid` is its process.
int spawn(const char* shell, const std::string& command, const std::string& directory, int tty,
          int output, pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
  sigset_t all, none;
  ::sigfillset(&all);
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  if (tty >= 0) {
    flags |= POSIX_SPAWN_SETPGROUP;
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawn_file_actions_addtcsetpgrp_np(&actions, tty);
  }
  ::posix_spawnattr_setflags(&attributes, flags);
  ::posix_spawn_file_actions_addchdir_np(&actions, directory.c_str());
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  const char* const argv[] = {shell, "-c", command.c_str(), nullptr};
  const int error = ::posix_spawn(&pid, shell, &actions, &attributes,
                                  const_cast<char* const*>(argv), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  return error;
}

// What comes of `fd` within `wait`; false: nothing does any more.
bool read_some(int fd, std::chrono::milliseconds wait,
               const std::function<void(std::string_view)>& got) {
  pollfd waiting{fd, POLLIN, 0};
  const int n_ready = ::poll(&waiting, 1, static_cast<int>(wait.count()));
  if (n_ready <= 0) return n_ready == 0 || errno == EINTR;
  char block[65536];
  const ssize_t n = ::read(fd, block, sizeof block);
  if (n > 0) got({block, static_cast<std::size_t>(n)});
  return n > 0 || (n < 0 && errno == EINTR);
}

}  // namespace

Result<OwnCommand> run_own_command(const std::string& command, const std::string& directory,
                                   int tty, const std::function<void(std::string_view)>& shown,
                                   const std::function<bool()>& given_up) {
  const char* shell = std::getenv("SHELL");
  if (!shell || ::access(shell, X_OK) != 0) shell = "/bin/sh";
  const auto failed = [&](int error) {
    return tl::unexpected(Error{
        fmt::format("run `{}` by {} in {}: {}", command, shell, directory, std::strerror(error))});
  };
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed(errno);
  const tools::Fd output(ends[0]);
  tools::Fd input(ends[1]);
  const auto began = Clock::now();
  const Foreground foreground(tty);
  pid_t pid = 0;
  if (const int error = spawn(shell, command, directory, foreground.tty(), input.get(), pid))
    return failed(error);
  input = tools::Fd();

  tools::OutputCleaner cleaner;
  tools::Clip clip(/*state_dir=*/"", "own");
  const auto take = [&](std::string_view text) {
    if (!text.empty()) clip.append(text), shown(text);
  };
  const auto got = [&](std::string_view bytes) { take(cleaner.feed(bytes)); };
  // Its jobs, too, where it has a process group
  const auto end = [&](int signal) {
    ::kill(foreground.tty() >= 0 ? -pid : pid, signal);
    ::kill(foreground.tty() >= 0 ? -pid : pid, SIGCONT);
  };
  bool open = true, told_to_end = false;
  int status = 0;
  for (;;) {
    if (open)
      open = read_some(output.get(), kLookedAfterEvery, got);
    else
      ::poll(nullptr, 0, static_cast<int>(kLookedAfterEvery.count()));
    const pid_t changed = ::waitpid(pid, &status, WNOHANG | WUNTRACED);
    if (changed == pid && WIFSTOPPED(status)) end(SIGTERM);
    if (changed == pid && !WIFSTOPPED(status)) break;
    if (changed < 0 && errno != EINTR) break;
    if (given_up() && !std::exchange(told_to_end, true)) end(SIGTERM);
  }
  // What is written already, and not what a job in the background goes on to write.
  for (const auto until = Clock::now() + kLookedAfterEvery; open && Clock::now() < until;) {
    pollfd waiting{output.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 0) <= 0) break;
    open = read_some(output.get(), std::chrono::milliseconds(0), got);
  }
  take(cleaner.finish());
  return OwnCommand{.command = command,
                    .output = clip.finish(),
                    .ended = ended_how(status),
                    .seconds = std::chrono::duration<double>(Clock::now() - began).count()};
}

std::string with_commands(std::string prompt, const std::vector<OwnCommand>& commands) {
  for (const auto& c : commands) {
    prompt += fmt::format("\n\n<ran_by_user>\n$ {}\n{}", c.command, c.output);
    if (!prompt.ends_with('\n')) prompt += '\n';
    if (!c.ended.empty()) prompt += fmt::format("[{}]\n", c.ended);
    prompt += "</ran_by_user>";
  }
  return prompt;
}

}  // namespace lares::cli
