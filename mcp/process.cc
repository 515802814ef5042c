#include "mcp/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace lares::mcp {
namespace {

struct Start {
  std::vector<char*> argv, envp;
  const char* cwd;
  int in, out, err;
  pid_t parent;
};

// Runs in the child of vfork, on the parent's memory: system calls only, nothing allocated, no
// return.
[[noreturn]] void become(const Start& start, volatile int& failed_errno,
                         const char* volatile& failed_step) {
  const auto give_up = [&](const char* step) {
    failed_errno = errno;
    failed_step = step;
    ::_exit(127);
  };
  ::setpgid(0, 0);
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) give_up("prctl");
  if (::getppid() != start.parent) ::_exit(127);  // the parent died before prctl
  if (::dup2(start.in, 0) < 0 || ::dup2(start.out, 1) < 0 || ::dup2(start.err, 2) < 0)
    give_up("dup2");
  ::syscall(SYS_close_range, 3u, ~0u, 0u);
  if (::chdir(start.cwd) != 0) give_up("chdir");
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; ++s) ::sigaction(s, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execvpe(start.argv[0], start.argv.data(), start.envp.data());
  give_up("execute");
  ::_exit(127);
}

std::vector<std::string> environment(const ServerConfig& server) {
  std::map<std::string, std::string> env;
  for (const char* name :
       {"HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER",
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"}) {
    if (const char* value = std::getenv(name)) env[name] = value;
  }
  for (const auto& [name, value] : server.env) env[name] = value;
  std::vector<std::string> lines;
  for (const auto& [name, value] : env) lines.push_back(name + "=" + value);
  return lines;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (auto& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

struct Pipe {
  int read = -1, write = -1;
  bool open() { return ::pipe2(&read, O_CLOEXEC) == 0; }
  ~Pipe() {
    if (read >= 0) ::close(read);
    if (write >= 0) ::close(write);
  }
  static int keep(int& fd) {
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    return std::exchange(fd, -1);
  }
};
static_assert(offsetof(Pipe, write) == sizeof(int));  // pipe2 writes both

}  // namespace

tl::expected<Child, std::string> start_child(const ServerConfig& server, const std::string& root) {
  Pipe in, out, err;
  if (!in.open() || !out.open() || !err.open()) {
    return tl::unexpected(fmt::format("make a pipe: {}", std::strerror(errno)));
  }
  std::vector<std::string> argv{server.command};
  argv.insert(argv.end(), server.args.begin(), server.args.end());
  auto envp = environment(server);
  const std::string cwd = server.cwd.starts_with('/') ? server.cwd : root + "/" + server.cwd;
  // A descriptor of ours that is 0, 1 or 2 would be overwritten by dup2; the daemon keeps those
  // open.
  const Start start{pointers(argv), pointers(envp), cwd.c_str(), in.read,
                    out.write,      err.write,      ::getpid()};
  volatile int failed_errno = 0;
  const char* volatile failed_step = nullptr;
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no handler of ours may run in the child
  const pid_t pid =
      ::vfork();  // not fork: the model's pages make a page table that takes long to copy
  if (pid == 0) become(start, failed_errno, failed_step);
  const int vfork_errno = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return tl::unexpected(fmt::format("vfork: {}", std::strerror(vfork_errno)));
  if (failed_step) {
    ::waitpid(pid, nullptr, 0);
    const bool chdir_failed = std::strcmp(failed_step, "chdir") == 0;
    return tl::unexpected(fmt::format("{} {}: {}", failed_step, chdir_failed ? cwd : server.command,
                                      std::strerror(failed_errno)));
  }
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) {
    const int why = errno;
    end_child(pid, -1, 0);
    return tl::unexpected(
        fmt::format("pidfd_open: {}; a kernel from 5.3 on is needed", std::strerror(why)));
  }
  return Child{pid, Pipe::keep(in.write), Pipe::keep(out.read), Pipe::keep(err.read), pidfd};
}

std::string end_child(pid_t pid, int pidfd, int grace_ms) {
  if (grace_ms > 0) {
    ::kill(-pid, SIGTERM);
    pollfd ended{pidfd, POLLIN, 0};
    while (::poll(&ended, 1, grace_ms) < 0 && errno == EINTR) {
    }
  }
  ::kill(-pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return "already reaped";
  }
  if (WIFSIGNALED(status)) return fmt::format("killed by signal {}", WTERMSIG(status));
  return fmt::format("exit status {}", WEXITSTATUS(status));
}

}  // namespace lares::mcp
