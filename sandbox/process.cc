// spawn(): starting a command under a backend, and the handle on its whole tree.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>

#include "sandbox/cgroup.h"
#include "sandbox/fixes.h"
#include "sandbox/policy.h"
#include "sandbox/proxy.h"
#include "sandbox/sandbox.h"
#include "sandbox/spec.h"
#include "sandbox/start.h"

namespace lares::sandbox {
namespace {

inline constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
inline constexpr auto kKillPatience = std::chrono::seconds(2);  // the launcher needs milliseconds

inline constexpr std::size_t kDescendantsMax = 4096;

Error broken(std::string_view what) {
  return {Errc::broken, fmt::format("sandbox: {}: {}", what, ::strerror(errno))};
}

// One child, from start to reaping. Outlives its Process while it waits for a killed child to end,
// so that nobody has to block and no zombie stays.
struct Child : std::enable_shared_from_this<Child> {
  Child(asio::any_io_executor io, Started started, bool alone)
      : pid(started.pid),
        own_group(alone),
        pidfd(io, started.pidfd.release()),
        patience(io),
        control(io) {}
  ~Child() {
    if (reaped)
      return;  // else the executor went away first; a SIGKILL takes no time worth a thread
    signal_now();
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED) != 0 && errno == EINTR) {
    }
    if (own_group) ::kill(-pid, SIGKILL);
  }

  void signal_now() {
    if (reaped) return;
    if (own_group) ::kill(-pid, SIGKILL);
    if (group) group->kill();
    ::syscall(SYS_pidfd_send_signal, pidfd.native_handle(), SIGKILL, nullptr, 0);
  }

  void kill() {
    if (reaped || killed) return;
    killed = true;
    proxy.reset();
    if (own_group) return signal_now();
    // The launcher sees the end of file, kills the PID namespace, waits until it is empty and
    // exits: when we see that exit, nothing is left. Should it hang, its own death takes the
    // namespace with it.
    if (group) group->kill();
    boost::system::error_code ignored;
    control.close(ignored);
    patience.expires_after(kKillPatience);
    patience.async_wait([self = shared_from_this()](boost::system::error_code cancelled) {
      if (!cancelled) self->signal_now();
    });
  }

  // False while it still runs.
  bool reap() {
    siginfo_t info{};
    int done;
    do done = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG);
    while (done != 0 && errno == EINTR);
    if (done != 0) {  // someone else waited for our child: it is gone, its status lost
      reaped = true;
    } else if (info.si_pid != 0) {
      reaped = true;
      exit = info.si_code == CLD_EXITED ? Exit{.exited = true, .code = info.si_status}
                                        : Exit{.exited = false, .signal = info.si_status};
    }
    if (reaped) {
      patience.cancel();
      group.reset();
      proxy.reset();
      // With Backend::none the shell's children may live on in its group.
      if (own_group) ::kill(-pid, SIGKILL);
    }
    return reaped;
  }

  void reap_later() {
    if (reaped) return;
    pidfd.async_wait(asio::posix::stream_descriptor::wait_read,
                     [self = shared_from_this()](boost::system::error_code failed) {
                       if (!failed) self->reap();
                     });
  }

  const int pid;
  const bool own_group;  // Backend::none: all of it is in the group that `pid` leads
  asio::posix::stream_descriptor pidfd;
  asio::steady_timer patience;
  asio::posix::stream_descriptor control;  // not open without the launcher
  std::unique_ptr<Group> group;            // null where none is delegated
  std::unique_ptr<Proxy> proxy;            // null without allowed hosts
  bool killed = false, reaped = false;
  Exit exit;
};

std::vector<int> numbers_in(const std::string& dir) {
  std::vector<int> out;
  std::error_code failed;
  for (std::filesystem::directory_iterator at(dir, failed), end; !failed && at != end;
       at.increment(failed))
    out.push_back(std::atoi(at->path().filename().c_str()));
  return out;
}

struct Descendant {
  int pid = 0, parent = 0;
};
// By whichever of its threads they were started, each before its children.
std::vector<Descendant> family_of(int pid) {
  std::vector<Descendant> all = {{pid, 0}};
  for (std::size_t i = 0; i < all.size() && all.size() < kDescendantsMax; ++i) {
    const int parent = all[i].pid;
    for (const int task : numbers_in(fmt::format("/proc/{}/task", parent))) {
      std::ifstream children(fmt::format("/proc/{}/task/{}/children", parent, task));
      for (int child; children >> child;) all.push_back({child, parent});
    }
  }
  all.erase(all.begin());
  return all;
}

// By which number its own namespace knows it, and how many namespaces know it; 0 when it is gone.
struct Known {
  int pid = 0, namespaces = 0;
};
Known known_as(int pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  constexpr std::string_view kField = "NSpid:";
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(kField)) continue;
    std::istringstream numbers(line.substr(kField.size()));
    Known out;
    while (numbers >> out.pid) ++out.namespaces;
    return out;
  }
  return {};
}

// "" when it is gone or hides that.
std::string program_of(int pid) {
  std::error_code failed;
  return std::filesystem::read_symlink(fmt::format("/proc/{}/exe", pid), failed).native();
}

// The launcher's one line; "" when it ended without, nullopt when the wait was cancelled.
asio::awaitable<std::optional<std::string>> reply(Child& child) {
  std::string line;
  auto [failed, n] = co_await asio::async_read_until(
      child.control, asio::dynamic_buffer(line, kReplyBytesMax), '\n', kIo);
  if (failed == asio::error::operation_aborted) co_return std::nullopt;
  line.resize(failed ? 0 : n - 1);
  co_return line;
}

Error refusal_of(const std::string& line, const std::string& launcher) {
  if (line.empty() || line[0] != kReplyFailed)
    return {Errc::broken, fmt::format("sandbox launcher {}: ended without saying why", launcher)};
  const auto tab = line.find('\t');
  const auto layer = line.substr(1, tab == line.npos ? line.npos : tab - 1);
  const auto message = tab == line.npos ? std::string("failed") : line.substr(tab + 1);
  if (layer == "policy") return {Errc::refused, "sandbox: " + message};
  if (layer == "program") return {Errc::unavailable, message};
  if (const auto fix = fix_for(layer, launcher); !fix.empty())
    return {Errc::unavailable, fmt::format("sandbox: {}: {}; {}", layer, message, fix)};
  return {Errc::unavailable, fmt::format("sandbox: {}: {}", layer, message)};
}

class Running : public Process {
 public:
  Running(std::shared_ptr<Child> child, Backend backend, std::string launcher,
          asio::posix::stream_descriptor in, asio::posix::stream_descriptor out)
      : child_(std::move(child)),
        launcher_(std::move(launcher)),
        hides_(backend != Backend::none),
        n_when_alone_(backend == Backend::native       ? 2
                      : backend == Backend::bubblewrap ? 3
                                                       : 1),
        in_(std::move(in)),
        out_(std::move(out)) {}
  ~Running() override {
    child_->kill();
    child_->reap_later();
  }
  int pid() const override { return child_->pid; }
  std::vector<std::vector<int>> trees_of(const std::vector<int>& pids) const override {
    std::vector<std::vector<int>> trees(pids.size());
    std::map<int, std::size_t> in;  // which tree, by the host's number
    const int namespaces = known_as(child_->pid).namespaces + (hides_ ? 1 : 0);
    for (const auto& [pid, parent] : family_of(child_->pid)) {
      auto tree = in.contains(parent) ? in[parent] : trees.size();
      const auto known = known_as(pid);
      const auto asked = std::ranges::find(pids, known.pid);
      const auto own = static_cast<std::size_t>(asked - pids.begin());
      if (known.namespaces == namespaces && asked != pids.end() && trees[own].empty()) tree = own;
      if (tree == trees.size()) continue;
      trees[tree].push_back(pid);
      in[pid] = tree;
    }
    return trees;
  }
  // One that has become another program, or has threads, may be at work while it is alone.
  bool alone() const override {
    const auto all = descendants_of(child_->pid);
    if (all.size() != n_when_alone_) return false;
    const auto program = program_of(all.back());
    if (program_.empty()) program_ = program;
    return program == program_ && numbers_in(fmt::format("/proc/{}/task", all.back())).size() == 1;
  }
  asio::posix::stream_descriptor& in() override { return in_; }
  asio::posix::stream_descriptor& out() override { return out_; }
  void kill() override { child_->kill(); }

  asio::awaitable<Result<>> hide(std::vector<std::string> paths) override {
    return ask(kCover, std::move(paths));
  }
  asio::awaitable<Result<>> keep(std::vector<std::string> paths) override {
    return ask(kKeep, std::move(paths));
  }

  // Cancelled, it returns an Exit with signal 0 and may be called again.
  asio::awaitable<Exit> wait() override {
    const auto child = child_;
    while (!child->reaped) {
      auto [failed] = co_await child->pidfd.async_wait(asio::posix::stream_descriptor::wait_read,
                                                       kIo);
      if (failed == asio::error::operation_aborted) co_return Exit{};
      child->reap();
    }
    co_return child->exit;
  }

 private:
  // Cancelled, it leaves an answer behind that would be taken for the next one's: the tree is
  // killed.
  asio::awaitable<Result<>> ask(char what, std::vector<std::string> paths) {
    if (!hides_ || paths.empty()) co_return Result<>();
    std::string list;
    for (const auto& path : paths) list.append(path).push_back('\0');
    if (list.size() > kSpecBytesMax) {
      Error error{Errc::refused, fmt::format("sandbox: {} bytes of paths to hide, at most {}",
                                             list.size(), kSpecBytesMax)};
      co_return tl::unexpected(std::move(error));
    }
    const auto child = child_;
    const auto request = fmt::format("{}{}\n", what, list.size()) + list;
    const auto [failed, n] = co_await asio::async_write(child->control, asio::buffer(request), kIo);
    std::optional<std::string> line;
    if (!failed)
      line = co_await reply(*child);
    else if (failed != asio::error::operation_aborted)
      line.emplace();  // it has ended
    if (line && *line == std::string(1, what)) co_return Result<>();
    if (!line) child->kill();
    Error error = line ? refusal_of(*line, launcher_)
                       : Error{Errc::cancelled, "sandbox: cancelled while it hid files"};
    co_return tl::unexpected(std::move(error));
  }

  std::shared_ptr<Child> child_;
  const std::string launcher_;
  const bool hides_;
  // Of the launcher's descendants: PID 1 and the command, with bubblewrap its two and the command
  const std::size_t n_when_alone_;
  mutable std::string program_;  // of the command, when it was first found alone
  asio::posix::stream_descriptor in_, out_;
};

struct Pipe {
  Fd read, write;
};

std::optional<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return std::nullopt;
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

// A sealed file in memory with the encoded spec, its offset at the start.
Result<Fd> spec_file(const Spec& spec) {
  const auto text = encode(spec);
  if (text.size() > kSpecBytesMax)
    return tl::unexpected(
        Error{Errc::refused,
              fmt::format("sandbox command: {} bytes of arguments and environment, at most {}",
                          text.size(), kSpecBytesMax)});
  Fd file(::memfd_create("lares-spec", MFD_CLOEXEC));
  if (!file) return tl::unexpected(broken("memfd_create"));
  for (std::size_t done = 0; done < text.size();) {
    const auto n = ::write(file.get(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return tl::unexpected(broken("write the spec"));
    done += static_cast<std::size_t>(n);
  }
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return tl::unexpected(broken("rewind the spec"));
  return file;
}

asio::posix::stream_descriptor adopt(asio::any_io_executor io, Fd fd) {
  return asio::posix::stream_descriptor(io, fd.release());
}

// The listener for the proxy, which comes before the line; an empty Fd when the launcher has
// something else to say.
asio::awaitable<Fd> listener(Child& child) {
  auto [failed] = co_await child.control.async_wait(asio::posix::stream_descriptor::wait_read, kIo);
  char mark = 0;
  if (failed || ::recv(child.control.native_handle(), &mark, 1, MSG_PEEK) != 1 ||
      mark != kReplyListener)
    co_return Fd();
  iovec bytes{&mark, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  if (::recvmsg(child.control.native_handle(), &message, MSG_CMSG_CLOEXEC) != 1) co_return Fd();
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int)))
    co_return Fd();
  int fd;
  ::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  co_return Fd(fd);
}

}  // namespace

std::vector<int> descendants_of(int pid) {
  std::vector<int> out;
  for (const auto& one : family_of(pid)) out.push_back(one.pid);
  return out;
}

asio::awaitable<Result<std::unique_ptr<Process>>> spawn(std::string launcher, Backend backend,
                                                        Policy policy, Command command) {
  const asio::any_io_executor io = co_await asio::this_coro::executor;
  auto spec = compile(backend, policy, command);
  if (!spec) co_return tl::unexpected(std::move(spec.error()));

  auto input = make_pipe(), output = make_pipe();
  if (!input || !output) co_return tl::unexpected(broken("pipe"));
  StartOptions options;
  options.fds = {{input->read.get(), 0}, {output->write.get(), 1}, {output->write.get(), 2}};
  Fd file, control_ours, control_theirs;
  std::unique_ptr<Group> group;
  const bool plain = backend == Backend::none;
  const bool launched = !plain || ::access(launcher.c_str(), X_OK) == 0;
  options.dies_with_parent = plain;
  if (!launched) {  // nobody outlives us then to kill what the command leaves behind
    options.path = command.argv[0];
    options.argv = command.argv;
    options.env = spec->env;
    options.cwd = command.cwd;
  } else {
    if (plain && find_program(command.argv[0], spec->env).empty())
      co_return tl::unexpected(no_such_program(command.argv[0]));
    if (::access(launcher.c_str(), X_OK) != 0) {
      const Error missing{
          Errc::unavailable,
          fmt::format("sandbox launcher {}: {}; install lares-sandbox beside laresd", launcher,
                      ::strerror(errno))};
      co_return tl::unexpected(missing);
    }
    if (const auto& where = delegation(); !plain && where.limits()) {
      auto own = Group::make(where, policy.limits);
      if (!own) {
        Error failed{Errc::broken, "sandbox: " + own.error()};
        co_return tl::unexpected(std::move(failed));
      }
      group = std::move(*own);
      spec->cgroup = group->dir();
      spec->cgroup_limits = where.memory && where.processes;
    }
    auto made = spec_file(*spec);
    if (!made) co_return tl::unexpected(std::move(made.error()));
    file = std::move(*made);
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      co_return tl::unexpected(broken("socketpair"));
    control_ours = Fd(ends[0]);
    control_theirs = Fd(ends[1]);
    options.path = launcher;
    options.argv = {"lares-sandbox"};
    options.fds.emplace_back(file.get(), kSpecFd);
    options.fds.emplace_back(control_theirs.get(), kControlFd);
  }
  auto started = start(options);
  if (!started) co_return tl::unexpected(std::move(started.error()));
  input->read = Fd();
  output->write = Fd();
  control_theirs = Fd();

  auto child = std::make_shared<Child>(io, std::move(*started), plain);
  child->group = std::move(group);
  auto running = std::make_unique<Running>(child, backend, launcher,
                                           adopt(io, std::move(input->write)),
                                           adopt(io, std::move(output->read)));
  if (launched) {
    child->control.assign(control_ours.release());
    Fd listening;
    if (spec->network) listening = co_await listener(*child);
    const std::optional<std::string> line = co_await reply(*child);
    if (!line) {
      Error cancelled{Errc::cancelled, "sandbox: cancelled before the command ran"};
      co_return tl::unexpected(std::move(cancelled));
    }
    if (line->empty() || line->front() != kReplyStarted) {
      Error error = refusal_of(*line, launcher);
      co_return tl::unexpected(std::move(error));
    }
    if (spec->network) {
      auto allow = AllowList::parse(policy.network_allow);
      if (allow && listening)
        child->proxy = Proxy::start(io, std::move(listening), std::move(*allow), policy.on_network);
      if (!child->proxy) {
        Error failed{Errc::broken,
                     "sandbox network: the launcher handed out no listener for the proxy"};
        co_return tl::unexpected(std::move(failed));
      }
    }
  }
  co_return std::unique_ptr<Process>(std::move(running));
}

}  // namespace lares::sandbox
