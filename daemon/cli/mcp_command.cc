// What an MCP client says on stdin goes to the daemon, what the daemon answers to stdout, byte for byte.
#include "daemon/cli/mcp_command.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>

#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/cli/start.h"
#include "daemon/mcp/door.h"
#include "tools/fd.h"

namespace lares::cli {
namespace {

constexpr std::size_t kBytesUnderWayMax = 1 << 20;  // in each direction; then its source waits
constexpr std::chrono::milliseconds kLastAnswersWithin{1000};  // after the client said that it is done

Result<tools::Fd> connect_to(const std::string& path) {
  tools::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (fd.get() < 0 || path.size() >= sizeof address.sun_path) return tl::unexpected(Error{fmt::format("connect to the daemon: {}: no such socket can be made", path)});
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return tl::unexpected(Error{fmt::format("connect to the daemon on {}: {}; `lares status` says whether it runs", path, std::strerror(errno))});
  }
  return fd;
}

// Bytes on their way from one descriptor to another.
struct Flow {
  int from, to;
  std::string bytes;
  bool ended = false;  // nothing more comes in

  bool wants_in() const { return !ended && bytes.size() < kBytesUnderWayMax; }
  bool done() const { return ended && bytes.empty(); }
  // The error is why nothing comes any more, but for its end.
  Result<> read() {
    std::array<char, 65536> block;
    const ssize_t n = ::read(from, block.data(), block.size());
    if (n > 0) bytes.append(block.data(), static_cast<std::size_t>(n));
    else if (n == 0) ended = true;
    else if (errno != EINTR && errno != EAGAIN) return tl::unexpected(Error{std::strerror(errno)});
    return {};
  }
  Result<> write() {
    const ssize_t n = ::write(to, bytes.data(), bytes.size());
    if (n > 0) bytes.erase(0, static_cast<std::size_t>(n));
    else if (n < 0 && errno != EINTR && errno != EAGAIN) return tl::unexpected(Error{std::strerror(errno)});
    return {};
  }
};

// Until the client is done and has its answers. The error says which end failed.
Result<> pump(int socket, std::string first) {
  Flow up{STDIN_FILENO, socket, std::move(first)}, down{socket, STDOUT_FILENO, ""};
  bool half_closed = false;
  const auto never = std::chrono::steady_clock::time_point::max();
  auto until = never;
  while (!down.done()) {
    if (up.done() && !std::exchange(half_closed, true)) {
      ::shutdown(socket, SHUT_WR);
      until = std::chrono::steady_clock::now() + kLastAnswersWithin;
    }
    if (until != never && std::chrono::steady_clock::now() > until) return {};
    std::array<pollfd, 3> fds = {pollfd{up.wants_in() ? up.from : -1, POLLIN, 0},
                                 pollfd{socket, static_cast<short>((down.wants_in() ? POLLIN : 0) | (up.bytes.empty() ? 0 : POLLOUT)), 0},
                                 pollfd{down.bytes.empty() ? -1 : down.to, POLLOUT, 0}};
    if (::poll(fds.data(), fds.size(), until == never ? -1 : 50) < 0 && errno != EINTR) return tl::unexpected(Error{fmt::format("wait for the client: {}", std::strerror(errno))});
    if (fds[0].revents != 0) {
      if (auto read = up.read(); !read) return tl::unexpected(Error{"read stdin: " + read.error().message});
    }
    if ((fds[1].revents & POLLOUT) != 0 && !up.bytes.empty()) {
      if (auto written = up.write(); !written) return tl::unexpected(Error{"write to the daemon: " + written.error().message});
    }
    if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      if (auto read = down.read(); !read) return tl::unexpected(Error{"read from the daemon: " + read.error().message});
      if (down.ended && !up.ended) {
        while (!down.bytes.empty() && down.write()) {
        }
        return tl::unexpected(Error{"the daemon hung up: it was shut down, or has died; its log says why. Start this server again, and tasks that ran are found with task_status"});
      }
    }
    if (fds[2].revents != 0) {
      if (auto written = down.write(); !written) return tl::unexpected(Error{"write to stdout: " + written.error().message});
    }
  }
  return {};
}

}  // namespace

int mcp_command(int argc, const char* const* argv) {
  CLI::App app("An MCP server on stdin and stdout, for a client to start: ask_repo, run_task, review, task_status, task_cancel. Tasks go on when it ends.", "lares mcp");
  DaemonOptions daemon;
  std::string root;
  app.add_option("--root", root, "the repository (default: that of the current directory)")->type_name("DIR");
  daemon.add_to(app, /*starts_daemon=*/true, /*prints_json=*/false);
  app.footer("Clients are configured with the command `lares` and the arguments `mcp`.\nExit: 0 stdin ended, 1 error, 2 wrong usage.");
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = daemon.resolve(); !usable) return fail(usable.error(), false);
  const auto top = repository_root(root);
  if (!top) return fail(top.error(), false);
  {
    Link link;  // which starts the daemon, and takes signals meanwhile
    const auto there = reach(link, daemon, [](double) {});
    if (!there) return fail(there.error(), false);
    if (auto served = serves_model(link, daemon, there->started); !served) return fail(served.error(), false);
  }
  ::signal(SIGPIPE, SIG_IGN);
  const auto socket = connect_to(daemon.socket);
  if (!socket) return fail(socket.error(), false);
  const protocol::Json params = {{"root", *top}};
  const auto pumped = pump(socket->get(), protocol::notification_line(daemon::kMcpRootNotification, params));
  return pumped ? kExitFinished : fail(pumped.error(), false);
}

}  // namespace lares::cli
