#include "daemon/bridges/mcp/bridge.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "daemon/client/link.h"
#include "daemon/client/start.h"
#include "mcp/server.h"

namespace lares::cli {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kReadBytes = 64 << 10;
// PIPE_BUF: what a pipe that poll() calls writable takes without blocking
constexpr std::size_t kWriteBytes = 4096;
// Between attempts to reach a daemon, doubled each time
constexpr milliseconds kPauseMin{50}, kPauseMax{2000};

tools::Fd connect_to(const std::string& path) {
  tools::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (!fd || path.size() >= sizeof address.sun_path) return {};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return {};
  return fd;
}

bool passing(int error) { return error == EINTR || error == EAGAIN; }

// Gives every line that has ended to `take`, and keeps the rest. `fresh`: bytes at its end that
// were not looked at before.
template <class Take>
void take_lines(std::string& inbox, std::size_t fresh, const Take& take) {
  std::size_t from = 0, look = inbox.size() - fresh;
  for (std::size_t end; (end = inbox.find('\n', look)) != std::string::npos; from = look = end + 1)
    take(std::string_view(inbox).substr(from, end - from));
  inbox.erase(0, from);
}

}  // namespace

struct McpBridge::Starter {
  Starter() : done_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Starter() { ::close(done_fd); }
  const int done_fd;
  std::mutex mutex;
  std::optional<Result<>> outcome;
};

McpBridge::McpBridge(const DaemonAddress& address, std::string root, int in, int out)
    : address_(address),
      in_(in),
      out_(out),
      traffic_(std::move(root), [this](std::string line) { tell(std::move(line)); }),
      attempt_at_(Clock::now()) {}

McpBridge::~McpBridge() = default;

bool McpBridge::starting() const { return starter_ != nullptr; }

void McpBridge::tell(std::string line) {
  bytes_down_ += line.size();
  to_client_.push_back(std::move(line));
}

Result<> McpBridge::run() {
  for (;;) {
    if (!daemon_ && !starter_ && !ended_ && (traffic_.waits() || traffic_.listens()) &&
        Clock::now() >= attempt_at_)
      connect();
    if (ended_ && !half_closed_ && (!daemon_ || traffic_.next().empty())) {
      half_closed_ = true;
      if (daemon_) ::shutdown(daemon_.get(), SHUT_WR);
      until_ = Clock::now() + kMcpLastAnswersWithin;
    }
    if (half_closed_ && ((!daemon_ && to_client_.empty()) || Clock::now() > until_)) return {};
    if (!traffic_.broken().empty()) return tl::unexpected(Error{traffic_.broken()});
    if (auto waited = wait(); !waited) return waited;
  }
}

// Until something can be done, and does it.
Result<> McpBridge::wait() {
  const bool reads = !ended_ && traffic_.bytes_unwritten() < kMcpBytesUnderWayMax;
  const auto wanted = static_cast<short>((has_room() ? POLLIN : 0) |
                                         (traffic_.next().empty() ? 0 : POLLOUT));
  std::array<pollfd, 4> fds = {pollfd{reads ? in_ : -1, POLLIN, 0},
                               pollfd{daemon_ && wanted != 0 ? daemon_.get() : -1, wanted, 0},
                               pollfd{to_client_.empty() ? -1 : out_, POLLOUT, 0},
                               pollfd{starter_ ? starter_->done_fd : -1, POLLIN, 0}};
  auto at = until_;
  if (!daemon_ && !starter_ && !ended_ && (traffic_.waits() || traffic_.listens()))
    at = std::min(at, attempt_at_);
  const auto left = std::chrono::ceil<milliseconds>(at - Clock::now()).count();
  const int patience = at == Clock::time_point::max()
                           ? -1
                           : static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
  if (::poll(fds.data(), fds.size(), patience) < 0) {
    if (errno == EINTR) return {};
    return tl::unexpected(Error{fmt::format("wait for the client: {}", std::strerror(errno))});
  }
  if (fds[0].revents != 0) {
    if (auto read = read_client(); !read) return read;
  }
  if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) read_daemon();
  if (daemon_ && (fds[1].revents & POLLOUT) != 0) write_daemon();
  if (fds[2].revents != 0) {
    if (auto written = write_client(); !written) return written;
  }
  if (fds[3].revents != 0) return started();
  return {};
}

// ---- the client

Result<> McpBridge::read_client() {
  std::array<char, kReadBytes> block;
  const ssize_t n = ::read(in_, block.data(), block.size());
  if (n < 0 && passing(errno)) return {};
  if (n < 0) return tl::unexpected(Error{fmt::format("read stdin: {}", std::strerror(errno))});
  if (n == 0) ended_ = true;
  inbox_.append(block.data(), static_cast<std::size_t>(n));
  take_lines(inbox_, static_cast<std::size_t>(n), [&](std::string_view line) {
    if (!std::exchange(skipping_, false) && line.size() < protocol::kLineBytesMax)
      return traffic_.from_client(line);
    tell(mcp::server::error_text(
             nullptr, {mcp::server::kInvalidRequest,
                       fmt::format("a message is longer than {} bytes", protocol::kLineBytesMax)}) +
         "\n");
  });
  if (inbox_.size() >= protocol::kLineBytesMax) skipping_ = true, inbox_.clear();
  return {};
}

Result<> McpBridge::write_client() {
  const std::string& line = to_client_.front();
  const ssize_t n = ::write(out_, line.data() + down_, std::min(line.size() - down_, kWriteBytes));
  if (n < 0 && passing(errno)) return {};
  if (n < 0) return tl::unexpected(Error{fmt::format("write to stdout: {}", std::strerror(errno))});
  down_ += static_cast<std::size_t>(n);
  if (down_ < line.size()) return {};
  bytes_down_ -= line.size(), down_ = 0;
  to_client_.pop_front();
  return {};
}

// ---- the daemon

void McpBridge::connect() {
  daemon_ = connect_to(address_.socket);
  if (daemon_) return traffic_.connected();
  attempt_at_ = Clock::now() + kPauseMax;
  if (traffic_.waits()) start();
}

void McpBridge::read_daemon() {
  std::array<char, kReadBytes> block;
  const ssize_t n = ::read(daemon_.get(), block.data(), block.size());
  if (n < 0 && passing(errno)) return;
  if (n <= 0) return lose();
  n_hangups_ = 0;
  from_daemon_.append(block.data(), static_cast<std::size_t>(n));
  take_lines(from_daemon_, static_cast<std::size_t>(n),
             [&](std::string_view line) { traffic_.from_daemon(line); });
}

void McpBridge::write_daemon() {
  const std::string_view line = traffic_.next();
  const ssize_t n = ::send(daemon_.get(), line.data() + up_, line.size() - up_, MSG_NOSIGNAL);
  if (n < 0) return;  // where it is gone, reading sees the end, behind its last words
  up_ += static_cast<std::size_t>(n);
  if (up_ < line.size()) return;
  up_ = 0;
  traffic_.written();
}

void McpBridge::lose() {
  daemon_ = {};
  from_daemon_.clear();
  up_ = 0;
  if (half_closed_) return;  // the client has left, and it ends what it did for it
  attempt_at_ = Clock::now() +
                (n_hangups_ == 0 ? milliseconds(0)
                                 : std::min(kPauseMax, kPauseMin * (1 << std::min(n_hangups_, 6))));
  traffic_.lost();
  if (++n_hangups_ <= kMcpHangupsMax) return;
  n_hangups_ = 0;
  traffic_.give_up(fmt::format("the daemon at {} hung up {} times; see laresd.log in {}",
                               address_.socket, kMcpHangupsMax, address_.state_dir));
}

void McpBridge::start() {
  starter_ = std::make_shared<Starter>();
  std::thread([starter = starter_, address = address_] {
    const auto reached = [&]() -> Result<> {
      Link link;  // which takes signals meanwhile
      const auto there = reach(link, address, [](double) {});
      if (!there) return tl::unexpected(there.error());
      return serves_model(link, address, there->started);
    }();
    const std::scoped_lock lock(starter->mutex);
    starter->outcome = reached;
    const std::uint64_t one = 1;
    (void)!::write(starter->done_fd, &one, sizeof one);
  }).detach();
}

Result<> McpBridge::started() {
  const auto starter = std::exchange(starter_, nullptr);
  const std::scoped_lock lock(starter->mutex);
  attempt_at_ = Clock::now();
  if (*starter->outcome) return {};
  const Error& error = starter->outcome->error();
  if (error.kind == Error::Kind::interrupted) return tl::unexpected(error);
  traffic_.give_up(error.message);
  return {};
}

}  // namespace lares::cli
