#include "mcp/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace lares::mcp {
namespace {

// Stands in the server's group and kills it when the daemon is gone: the kernel's own death signal reaches the leader alone, not
// what that has started. It ignores the polite signals that are meant for the server.
constexpr const char* kWatchdog = "trap '' HUP INT TERM; read -r _; kill -KILL 0";

struct Start {
  std::vector<char*> argv, envp;
  const char* cwd;
  int in, out, err;
  pid_t parent;
  pid_t group;  // 0: one of its own, and then it is killed when the thread that started it ends
};

// Runs in the child of vfork, on the parent's memory: system calls only, nothing allocated, no return.
[[noreturn]] void become(const Start& start, volatile int& failed_errno,
                         const char* volatile& failed_step) {
  const auto give_up = [&](const char* step) {
    failed_errno = errno;
    failed_step = step;
    ::_exit(127);
  };
  if (::setpgid(0, start.group) != 0) give_up("setpgid");
  if (start.group == 0 && ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) give_up("prctl");
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

struct Started {
  pid_t pid = -1;
  int failed_errno = 0;
  const char* failed_step = nullptr;
};

// A descriptor of ours that is 0, 1 or 2 would be overwritten by dup2; the daemon keeps those open.
Started spawn(const Start& start) {
  volatile int failed_errno = 0;
  const char* volatile failed_step = nullptr;
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no handler of ours may run in the child
  const pid_t pid = ::vfork();  // not fork: the model's pages make a page table that takes long to copy
  if (pid == 0) become(start, failed_errno, failed_step);
  const int vfork_errno = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return {-1, vfork_errno, "vfork"};
  if (!failed_step) return {pid, 0, nullptr};
  ::waitpid(pid, nullptr, 0);
  return {-1, failed_errno, failed_step};
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

std::string reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return "already reaped";
  }
  if (WIFSIGNALED(status)) return fmt::format("killed by signal {}", WTERMSIG(status));
  return fmt::format("exit status {}", WEXITSTATUS(status));
}

}  // namespace

Group& Group::operator=(Group&& other) noexcept {
  if (this == &other) return *this;
  kill();
  leader_ = std::exchange(other.leader_, -1);
  watchdog_ = std::exchange(other.watchdog_, -1);
  watch_ = std::exchange(other.watch_, -1);
  return *this;
}

void Group::terminate() const {
  if (leader_ > 0) ::kill(-leader_, SIGTERM);
}

std::string Group::kill() {
  if (leader_ <= 0) return "ended before";
  const pid_t leader = std::exchange(leader_, -1);
  ::kill(-leader, SIGKILL);  // before the leader is reaped, never after: then the number may be another's
  if (watch_ >= 0) ::close(std::exchange(watch_, -1));
  if (watchdog_ > 0) reap(std::exchange(watchdog_, -1));
  return reap(leader);
}

tl::expected<Child, std::string> start_child(const ServerConfig& server, const std::string& root) {
  Pipe in, out, err, hold;
  if (!in.open() || !out.open() || !err.open() || !hold.open()) {
    return tl::unexpected(fmt::format("make a pipe: {}", std::strerror(errno)));
  }
  std::vector<std::string> argv{server.command};
  argv.insert(argv.end(), server.args.begin(), server.args.end());
  auto envp = environment(server);
  const std::string cwd = server.cwd.starts_with('/') ? server.cwd : root + "/" + server.cwd;
  const auto leader = spawn({pointers(argv), pointers(envp), cwd.c_str(), in.read, out.write, err.write, ::getpid(), 0});
  if (leader.pid < 0) {
    const bool chdir_failed = std::strcmp(leader.failed_step, "chdir") == 0;
    return tl::unexpected(fmt::format("{} {}: {}", leader.failed_step, chdir_failed ? cwd : server.command, std::strerror(leader.failed_errno)));
  }
  std::vector<std::string> shell{"/bin/sh", "-c", kWatchdog}, no_variables;
  // It must not hold the server's stdout, whose end is awaited, nor its own pipe's other end.
  const auto watchdog = spawn({pointers(shell), pointers(no_variables), "/", hold.read, err.write, err.write, ::getpid(), leader.pid});
  Child child{Group(leader.pid, watchdog.pid, Pipe::keep(hold.write)), -1, -1, -1, -1};
  if (watchdog.pid < 0) return tl::unexpected(fmt::format("watch over it: {}: {}", watchdog.failed_step, std::strerror(watchdog.failed_errno)));
  child.pidfd = static_cast<int>(::syscall(SYS_pidfd_open, leader.pid, 0));
  if (child.pidfd < 0) return tl::unexpected(fmt::format("pidfd_open: {}; a kernel from 5.3 on is needed", std::strerror(errno)));
  child.in = Pipe::keep(in.write), child.out = Pipe::keep(out.read), child.err = Pipe::keep(err.read);
  return child;
}

}  // namespace lares::mcp
