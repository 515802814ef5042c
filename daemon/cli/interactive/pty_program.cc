#include "daemon/cli/interactive/pty_program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <utility>

namespace lares::cli {
namespace {

// Until what was typed has gone through the terminal; it takes longer only on a loaded machine.
constexpr std::chrono::seconds kUnreadWithin{1};
// Ends what take_unread() reads: no terminal sends it, for UTF-8 has no such byte.
constexpr char kTypedEnd = '\xff';

// The first says whether the program was begun; those behind it how it does.
struct Report {
  int error = 0;  // an errno
  pid_t pid = 0;
  int status = 0;
};

struct Pipe {
  tools::Fd from, to;
};

bool open_pipe(Pipe& pipe) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  pipe.from = tools::Fd(ends[0]), pipe.to = tools::Fd(ends[1]);
  return true;
}

// How a program is begun: made before there is a second process, which allocates nothing.
class Spawning {
 public:
  Spawning(const std::vector<std::string>& argv, const std::string& directory,
           const std::string& terminal) {
    for (const auto& word : argv) argv_.push_back(const_cast<char*>(word.c_str()));
    argv_.push_back(nullptr);
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    sigset_t all, none;
    ::sigfillset(&all);
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    ::posix_spawn_file_actions_addchdir_np(&actions_, directory.c_str());
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, terminal.c_str(), O_RDWR, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, STDIN_FILENO, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, STDIN_FILENO, STDERR_FILENO);
    ::posix_spawn_file_actions_addtcsetpgrp_np(&actions_, STDIN_FILENO);
  }
  ~Spawning() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  Spawning(const Spawning&) = delete;
  Spawning& operator=(const Spawning&) = delete;

  int begin(pid_t& pid) const {  // the errno
    return ::posix_spawn(&pid, argv_[0], &actions_, &attributes_, argv_.data(), environ);
  }

 private:
  std::vector<char*> argv_;
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

void tell(int reports, const Report& report) {
  while (::write(reports, &report, sizeof report) < 0 && errno == EINTR) {
  }
}

// What the leader does, between fork() and its end: calls that a process with threads may make
// there.
[[noreturn]] void lead(const char* terminal, const Spawning& spawning, int reports, int holds) {
  for (int signal = 1; signal < NSIG; ++signal)
    if (signal != SIGCHLD) ::signal(signal, SIG_IGN);
  ::signal(SIGCHLD, SIG_DFL);
  const auto low = static_cast<unsigned>(std::min(reports, holds)),
             high = static_cast<unsigned>(std::max(reports, holds));
  if (low > 0) ::close_range(0, low - 1, 0);
  if (high > low + 1) ::close_range(low + 1, high - 1, 0);
  ::close_range(high + 1, ~0U, 0);
  Report report;
  // The first one that the leader of a session opens is its terminal.
  if (::setsid() < 0 || ::open(terminal, O_RDWR | O_CLOEXEC) < 0)
    report.error = errno;
  else
    report.error = spawning.begin(report.pid);
  tell(reports, report);
  while (report.error == 0) {
    const pid_t changed = ::waitpid(report.pid, &report.status, WUNTRACED);
    if (changed < 0 && errno == EINTR) continue;
    if (changed < 0) break;
    tell(reports, report);
    if (!WIFSTOPPED(report.status)) break;
  }
  char nothing = 0;
  while (::read(holds, &nothing, 1) < 0 && errno == EINTR) {
  }
  ::_exit(0);
}

std::optional<Report> read_report(int from) {
  Report report;
  ssize_t n = 0;
  do n = ::read(from, &report, sizeof report);
  while (n < 0 && errno == EINTR);
  if (n < 0) return std::nullopt;
  if (n != sizeof report)
    return Report{.error = ECHILD, .pid = 0, .status = SIGKILL};  // it is gone
  return report;
}

}  // namespace

tl::expected<PtyProgram, int> PtyProgram::begin(const std::vector<std::string>& argv,
                                                const std::string& directory, const termios* modes,
                                                const winsize* size) {
  PtyProgram p;
  p.outer_ = tools::Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  std::array<char, 128> name{};
  if (!p.outer_ || ::grantpt(p.outer()) != 0 || ::unlockpt(p.outer()) != 0)
    return tl::unexpected(errno);
  if (const int error = ::ptsname_r(p.outer(), name.data(), name.size()))
    return tl::unexpected(error);
  p.inner_ = tools::Fd(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!p.inner_) return tl::unexpected(errno);
  if (modes) ::tcsetattr(p.inner_.get(), TCSANOW, modes);
  if (size) ::ioctl(p.outer(), TIOCSWINSZ, size);
  Pipe reports, holds;
  if (!open_pipe(reports) || !open_pipe(holds)) return tl::unexpected(errno);
  const Spawning spawning(argv, directory, name.data());
  p.leader_ = ::fork();
  if (p.leader_ == 0) lead(name.data(), spawning, reports.to.get(), holds.from.get());
  if (p.leader_ < 0) return tl::unexpected(errno);
  p.reports_ = std::move(reports.from), p.holds_ = std::move(holds.to);
  reports.to = tools::Fd();
  const auto begun = read_report(p.reports());
  p.ended_ = !begun || begun->error != 0;
  if (p.ended_) return tl::unexpected(begun ? begun->error : errno);
  p.pid_ = begun->pid;
  ::fcntl(p.reports(), F_SETFL, O_NONBLOCK);
  return p;
}

PtyProgram::~PtyProgram() {
  if (leader_ <= 0 || !reports_) return;  // moved from, or never begun
  if (!ended_) ::kill(-pid_, SIGKILL);
  holds_ = tools::Fd();
  while (::waitpid(leader_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::optional<int> PtyProgram::changed() {
  const auto report = read_report(reports());
  if (!report) return std::nullopt;
  if (!WIFSTOPPED(report->status)) ended_ = true;
  return report->status;
}

// Of another open file than the program's and its jobs', which does not wait for room.
std::size_t PtyProgram::mark_end(std::string_view mark) {
  termios modes{};
  if (::tcgetattr(inner_.get(), &modes) == 0) {
    ::cfmakeraw(&modes);
    ::tcsetattr(inner_.get(), TCSANOW, &modes);
  }
  ::tcflow(inner_.get(), TCOON);  // Ctrl-S was typed
  return static_cast<std::size_t>(
      std::max<ssize_t>(0, ::write(inner_.get(), mark.data(), mark.size())));
}

std::string PtyProgram::take_unread() {
  using Clock = std::chrono::steady_clock;
  std::string typed;
  bool marked = false;
  for (const auto until = Clock::now() + kUnreadWithin; Clock::now() < until;) {
    if (!marked) marked = ::write(outer(), &kTypedEnd, 1) == 1;
    std::array<char, 4096> block;
    const ssize_t n = ::read(inner_.get(), block.data(), block.size());
    if (n > 0) typed.append(block.data(), static_cast<std::size_t>(n));
    if (typed.ends_with(kTypedEnd)) {
      typed.pop_back();
      break;
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) break;
    pollfd waiting{inner_.get(), POLLIN, 0};
    if (n < 0) ::poll(&waiting, 1, 10);
  }
  return typed;
}

}  // namespace lares::cli
