#include "daemon/bridges/mcp/bridge.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "daemon/bridges/stdio.h"
#include "daemon/client/link.h"
#include "daemon/client/reconnect.h"
#include "daemon/client/start.h"
#include "mcp/server.h"

namespace lares::cli {
namespace {

using std::chrono::milliseconds;

constexpr LineReader::Bounds kClientLines{protocol::kLineBytesMax - 1};
constexpr LineReader::Bounds kDaemonLines{SIZE_MAX};  // it keeps its own

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
      from_client_(kClientLines),
      from_daemon_(kDaemonLines),
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
  std::array<char, kStdioReadBytes> block;
  const ssize_t n = ::read(in_, block.data(), block.size());
  if (n < 0 && is_passing(errno)) return {};
  if (n < 0) return tl::unexpected(Error{fmt::format("read stdin: {}", std::strerror(errno))});
  if (n == 0) ended_ = true;
  from_client_.take({block.data(), static_cast<std::size_t>(n)}, [&](const Line& line) {
    if (!line.too_long) return traffic_.from_client(line.text);
    tell(mcp::server::error_text(
             nullptr, {mcp::server::kInvalidRequest,
                       fmt::format("a message is longer than {} bytes", protocol::kLineBytesMax)}) +
         "\n");
  });
  return {};
}

Result<> McpBridge::write_client() {
  const std::string& line = to_client_.front();
  const ssize_t n = write_some(out_, std::string_view(line).substr(down_));
  if (n < 0 && is_passing(errno)) return {};
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
  attempt_at_ = Clock::now() + kReconnectPauseMax;
  if (traffic_.waits()) start();
}

void McpBridge::read_daemon() {
  std::array<char, kStdioReadBytes> block;
  const ssize_t n = ::read(daemon_.get(), block.data(), block.size());
  if (n < 0 && is_passing(errno)) return;
  if (n <= 0) return lose();
  n_hangups_ = 0;
  from_daemon_.take({block.data(), static_cast<std::size_t>(n)},
                    [&](const Line& line) { traffic_.from_daemon(line.text); });
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
  from_daemon_ = LineReader(kDaemonLines);
  up_ = 0;
  if (half_closed_) return;  // the client has left, and it ends what it did for it
  attempt_at_ = Clock::now() + (n_hangups_ == 0 ? milliseconds(0) : reconnect_pause(n_hangups_));
  traffic_.lost();
  if (++n_hangups_ < kHangupsMax) return;
  traffic_.give_up(hung_up_text(address_, std::exchange(n_hangups_, 0)));
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
