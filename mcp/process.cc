#include "mcp/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "sandbox/open_files.h"
#include "sandbox/search_path.h"
#include "sandbox/tree.h"

namespace lares::mcp {
namespace {

using sandbox::kTreeReportFd;

constexpr int kStartWithinMs = 10'000;  // until the launcher has executed the server, or says why
                                        // it cannot

struct Start {
  std::vector<char*> argv, envp;
  const char* cwd;
  std::array<int, kTreeReportFd + 1> fds;  // ours, that become 0, 1, 2 and the launcher's own
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
  if (::setpgid(0, 0) != 0) give_up("setpgid");  // a terminal's Ctrl-C is for the daemon
  if (::getppid() != start.parent) ::_exit(127);
  int high[kTreeReportFd + 1];  // none of those that are written over below
  for (int i = 0; i <= kTreeReportFd; ++i) {
    if ((high[i] = ::fcntl(start.fds[i], F_DUPFD_CLOEXEC, kTreeReportFd + 1)) < 0) give_up("fcntl");
  }
  for (int i = 0; i <= kTreeReportFd; ++i) {
    if (::dup2(high[i], i) < 0) give_up("dup2");
  }
  ::syscall(SYS_close_range, static_cast<unsigned>(kTreeReportFd + 1), ~0u, 0u);
  if (::chdir(start.cwd) != 0) give_up("chdir");
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; ++s) ::sigaction(s, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  sandbox::usual_open_files();
  ::execve(start.argv[0], start.argv.data(), start.envp.data());
  give_up("execute");
  ::_exit(127);
}

std::vector<std::string> environment(const ServerConfig& server, const Place& place) {
  std::map<std::string, std::string> env;
  for (const char* name :
       {"HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER",
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"}) {
    if (const char* value = std::getenv(name)) env[name] = value;
  }
  if (!place.start.empty()) env["PATH"] = sandbox::path_outside(env["PATH"], place.root);
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

Started spawn(const Start& start) {
  volatile int failed_errno = 0;
  const char* volatile failed_step = nullptr;
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no handler of ours may run in the child
  const pid_t pid = ::vfork();  // not fork: the model's pages make a page table that takes long to
                                // copy
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

// What the launcher says of the server's execution; empty: it succeeded, for then the pipe is
// closed without a word.
std::string report_of(int fd) {
  pollfd ready{fd, POLLIN, 0};
  int n = 0, error = 0;
  while ((n = ::poll(&ready, 1, kStartWithinMs)) < 0 && errno == EINTR) {
  }
  if (n == 0)
    return fmt::format("the launcher does not come to it within {} s", kStartWithinMs / 1000);
  return ::read(fd, &error, sizeof error) == sizeof error ? std::strerror(error) : "";
}

}  // namespace

Tree& Tree::operator=(Tree&& other) noexcept {
  if (this == &other) return *this;
  kill();
  launcher_ = std::exchange(other.launcher_, -1);
  life_ = std::exchange(other.life_, -1);
  return *this;
}

void Tree::terminate() const {
  if (launcher_ > 0) ::kill(launcher_, SIGTERM);  // which it passes on
}

void Tree::begin_kill() {
  if (life_ >= 0) ::close(std::exchange(life_, -1));
}

std::string Tree::kill() {
  if (launcher_ <= 0) return "ended before";
  begin_kill();
  return reap(std::exchange(launcher_, -1));
}

tl::expected<Child, std::string> start_child(const ServerConfig& server, const Place& place) {
  Pipe in, out, err, life, report;
  if (!in.open() || !out.open() || !err.open() || !life.open() || !report.open()) {
    return tl::unexpected(fmt::format("make a pipe: {}", std::strerror(errno)));
  }
  std::vector<std::string> argv{place.launcher, std::string(sandbox::kTreeOption), server.command};
  argv.insert(argv.end(), server.args.begin(), server.args.end());
  auto envp = environment(server, place);
  std::string cwd = server.cwd.starts_with('/') ? server.cwd : place.root + "/" + server.cwd;
  if (server.cwd.empty() && !place.start.empty()) {
    cwd = place.start;
    (void)::mkdir(cwd.c_str(), 0700);  // where it fails, the change to it says so
  }
  const auto launched = spawn({pointers(argv),
                               pointers(envp),
                               cwd.c_str(),
                               {in.read, out.write, err.write, life.read, report.write},
                               ::getpid()});
  if (launched.pid < 0) {
    const bool chdir_failed = std::strcmp(launched.failed_step, "chdir") == 0;
    return tl::unexpected(fmt::format("{} {}: {}", launched.failed_step,
                                      chdir_failed ? cwd : place.launcher,
                                      std::strerror(launched.failed_errno)));
  }
  Child child{Tree(launched.pid, Pipe::keep(life.write)), -1, -1, -1, -1};
  ::close(std::exchange(report.write, -1));
  if (const std::string why = report_of(report.read); !why.empty())
    return tl::unexpected(fmt::format("execute {}: {}", server.command, why));
  child.pidfd = static_cast<int>(::syscall(SYS_pidfd_open, launched.pid, 0));
  if (child.pidfd < 0)
    return tl::unexpected(
        fmt::format("pidfd_open: {}; a kernel from 5.3 on is needed", std::strerror(errno)));
  child.in = Pipe::keep(in.write), child.out = Pipe::keep(out.read),
  child.err = Pipe::keep(err.read);
  return child;
}

}  // namespace lares::mcp
