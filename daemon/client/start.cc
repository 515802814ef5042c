#include "daemon/client/start.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <vector>

#include "daemon/protocol/socket_path.h"
#include "daemon/state_dir.h"
#include "tools/fd.h"

extern char** environ;

namespace lares::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// The daemon listens before it loads the model, so this covers a cold disk and a busy machine, not
// the loading.
constexpr std::chrono::seconds kAnswerWithin{30};
constexpr std::chrono::milliseconds kProbeEvery{50};
constexpr std::chrono::seconds kStopWithin{5};
// A daemon that is just dying still takes connections, and hangs up on them.
constexpr std::chrono::seconds kGoneWithin{2};
constexpr std::uintmax_t kLogTailBytes = 4096;
constexpr std::size_t kLogTailLines = 8;

std::string reason() { return std::strerror(errno); }

std::string log_path(const DaemonAddress& address) { return address.state_dir + "/laresd.log"; }

// What the daemon wrote to its log since `from`, its last lines at most.
std::string log_tail(const std::string& path, std::uintmax_t from) {
  std::error_code ec;
  const std::uintmax_t size = fs::file_size(path, ec);
  if (!ec && size < from) from = 0;  // begun anew: it had grown too long
  if (ec || size <= from) return " nothing";
  std::ifstream in(path, std::ios::binary);
  in.seekg(
      static_cast<std::streamoff>(std::max(from, size > kLogTailBytes ? size - kLogTailBytes : 0)));
  std::string text(std::istreambuf_iterator<char>(in), {});
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::size_t at = text.size();
  for (std::size_t lines = 0; at > 0 && lines < kLogTailLines; ++lines) {
    at = text.rfind('\n', at - 1);
    if (at == std::string::npos) at = 0;
  }
  std::string tail;
  for (std::size_t i = at; i < text.size();) {
    std::size_t end = text.find('\n', i);
    if (end == std::string::npos) end = text.size();
    if (end > i) tail += "\n  " + text.substr(i, end - i);
    i = end + 1;
  }
  return tail.empty() ? " nothing" : tail;
}

// The started daemon, until it has answered: a failure in between must not leave it behind.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    const auto deadline = Clock::now() + kStopWithin;
    while (!ended()) {
      if (Clock::now() > deadline) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        return;
      }
      ::usleep(10'000);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool ended() {
    if (pid_ <= 0) return true;
    int status = 0;
    const pid_t got = ::waitpid(pid_, &status, WNOHANG);
    if (got == 0) return false;
    pid_ = 0;
    how_ = WIFSIGNALED(status) ? fmt::format("killed by signal {}", WTERMSIG(status))
                               : fmt::format("exit status {}", WEXITSTATUS(status));
    return true;
  }
  const std::string& how() const { return how_; }
  void keep() { pid_ = 0; }

 private:
  pid_t pid_;
  std::string how_;
};

Result<std::string> daemon_executable() {
  std::error_code ec;
  const fs::path self = fs::read_symlink("/proc/self/exe", ec);
  if (ec)
    return tl::unexpected(Error{fmt::format("find laresd: read /proc/self/exe: {}", ec.message())});
  const fs::path beside = self.parent_path() / "laresd";
  if (::access(beside.c_str(), X_OK) != 0) {
    return tl::unexpected(Error{fmt::format("start the daemon: {}: {}; laresd belongs beside lares",
                                            beside.string(), reason())});
  }
  return beside.string();
}

// What LARES_MODEL names from the directory that this was started in; "": that is not so. The
// daemon would look for it below its own.
std::string relative_model_of_environment() {
  const char* const model = std::getenv("LARES_MODEL");
  if (!model || *model == '\0' || *model == '/') return "";
  std::error_code ec;
  return fs::absolute(model, ec).lexically_normal().string();
}

Result<pid_t> spawn(const std::string& executable, const DaemonAddress& address) {
  std::vector<std::string> words = {executable, "--socket", address.socket, "--state-dir",
                                    address.state_dir};
  const std::string model = address.model.empty() ? relative_model_of_environment() : address.model;
  if (!model.empty()) words.insert(words.end(), {"--model", model});
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  const std::string log = log_path(address);
  const tools::Fd output(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!output)
    return tl::unexpected(Error{fmt::format("start the daemon: open its log {}: {}; {}", log,
                                            reason(), daemon::kAnotherStateDir)});
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, output.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  // Behind these: the log has its number where ours was closed
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  // A daemon that kept a pipe of its parent's open would keep `lares run ... | cat` waiting for
  // ever.
  ::posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  ::posix_spawn_file_actions_addchdir_np(&actions, "/");  // else it would hold the directory it was
                                                          // started in busy
  sigset_t defaults, none;
  ::sigfillset(&defaults);
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, executable.c_str(), &actions, &attributes, argv.data(),
                                   environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0)
    return tl::unexpected(Error{fmt::format("start {}: {}", executable, std::strerror(failed))});
  return pid;
}

// link.connect(), again for as long as somebody takes the connection only to hang up.
Result<protocol::InitializeResult> connect(Link& link, const std::string& socket) {
  const auto began = Clock::now();
  for (;;) {
    auto there = link.connect(socket);
    if (there || there.error().kind != Error::Kind::disconnected ||
        Clock::now() - began > kGoneWithin) {
      return there;
    }
    if (link.interrupted(Clock::now() + kProbeEvery)) {
      return tl::unexpected(Error{"connect to the daemon: interrupted", Error::Kind::interrupted});
    }
  }
}

// Waits for the start lock, so that of several CLIs one starts the daemon and the others find it.
Result<std::unique_ptr<tools::Fd>> lock_start(Link& link, const DaemonAddress& address,
                                              const std::function<void(double)>& waiting) {
  const std::string path = address.state_dir + "/start.lock";
  auto lock = std::make_unique<tools::Fd>(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock->get() < 0)
    return tl::unexpected(Error{fmt::format("start the daemon: open {}: {}; {}", path, reason(),
                                            daemon::kAnotherStateDir)});
  const auto began = Clock::now();
  while (::flock(lock->get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return tl::unexpected(Error{fmt::format("start the daemon: lock {}: {}", path, reason())});
    }
    if (Clock::now() - began > kAnswerWithin + kStopWithin) {
      return tl::unexpected(Error{
          fmt::format("start the daemon: another lares has been starting it for {} s and holds {}",
                      (kAnswerWithin + kStopWithin).count(), path)});
    }
    waiting(std::chrono::duration<double>(Clock::now() - began).count());
    if (link.interrupted(Clock::now() + kProbeEvery)) {
      return tl::unexpected(Error{"start the daemon: interrupted", Error::Kind::interrupted});
    }
  }
  return lock;
}

}  // namespace

Result<Reached> reach(Link& link, const DaemonAddress& address,
                      const std::function<void(double seconds)>& waiting) {
  auto there = connect(link, address.socket);
  if (there) return Reached{std::move(*there), false};
  if (there.error().kind != Error::Kind::absent) return tl::unexpected(std::move(there.error()));

  if (address.state_dir.empty()) {
    const auto found = daemon::state_dir("");
    return tl::unexpected(Error{
        fmt::format("start the daemon: {}", found ? "it has no state directory" : found.error())});
  }
  std::error_code ec;
  if (const auto made = daemon::make_state_dir(address.state_dir); !made)
    return tl::unexpected(Error{fmt::format("start the daemon: {}", made.error())});
  const auto lock = lock_start(link, address, waiting);
  if (!lock) return tl::unexpected(lock.error());
  there = connect(link, address.socket);  // whoever held the lock may have started it
  if (there) return Reached{std::move(*there), false};
  if (there.error().kind != Error::Kind::absent) return tl::unexpected(std::move(there.error()));

  const auto executable = daemon_executable();
  if (!executable) return tl::unexpected(executable.error());
  const std::string log = log_path(address);
  const std::uintmax_t log_began = fs::exists(log, ec) ? fs::file_size(log, ec) : 0;
  const auto pid = spawn(*executable, address);
  if (!pid) return tl::unexpected(pid.error());
  Child child(*pid);
  const auto began = Clock::now();
  for (;;) {
    waiting(std::chrono::duration<double>(Clock::now() - began).count());
    const bool ended = child.ended();
    there = link.connect(address.socket);
    if (there) {
      // Not ours if a daemon started by hand won the race for the socket; ours then ends by itself.
      const bool ours = there->pid == *pid;
      if (ours) child.keep();
      return Reached{std::move(*there), ours};
    }
    if (there.error().kind == Error::Kind::interrupted)
      return tl::unexpected(std::move(there.error()));
    if (ended) {
      return tl::unexpected(
          Error{fmt::format("start the daemon: {} ended at once ({}); its log {} says:{}",
                            *executable, child.how(), log, log_tail(log, log_began))});
    }
    if (Clock::now() - began > kAnswerWithin) {
      return tl::unexpected(Error{fmt::format(
          "start the daemon: no answer on {} for {} s, so it was stopped; its log {} says:{}",
          address.socket, kAnswerWithin.count(), log, log_tail(log, log_began))});
    }
    if (link.interrupted(Clock::now() + kProbeEvery)) {
      return tl::unexpected(Error{"start the daemon: interrupted", Error::Kind::interrupted});
    }
  }
}

Result<protocol::InitializeResult> rejoin(Link& link, const DaemonAddress& address) {
  return connect(link, address.socket);
}

Result<> serves_model(Link& link, const DaemonAddress& address, bool started) {
  if (started || address.model.empty()) return {};
  const auto status = link.call<protocol::ServerStatusResult>(protocol::ServerStatus{});
  if (!status) return tl::unexpected(status.error());
  if (status->model.directory == address.model) return {};
  return tl::unexpected(
      Error{fmt::format("--model {}: the running daemon serves {}; end it with `lares shutdown` "
                        "first, or give another --socket",
                        address.model, status->model.directory)});
}

void end_useless_daemon(Link& link) {
  if (!link.connected()) return;
  const auto status = link.call<protocol::ServerStatusResult>(protocol::ServerStatus{});
  if (status && status->engine.state == "failed")
    (void)link.call<protocol::Nothing>(protocol::ServerShutdown{});
}

}  // namespace lares::cli
