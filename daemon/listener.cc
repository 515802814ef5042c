#include "daemon/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace lares::daemon {
namespace {

constexpr int kListenFdsStart = 3;  // sd_listen_fds(3)

bool activated() {
  const char* const pid = std::getenv("LISTEN_PID");
  const char* const n = std::getenv("LISTEN_FDS");
  long value = 0;
  if (!pid || !n || std::string_view(n) != "1") return false;
  std::from_chars(pid, pid + std::strlen(pid), value);
  return value == ::getpid();
}

tl::unexpected<std::string> failed(const std::string& path, std::string_view why) {
  return tl::unexpected(fmt::format("listen on {}: {}", path, why));
}

}  // namespace

tl::expected<Listener, std::string> Listener::open(asio::any_io_executor io, const std::string& path) {
  boost::system::error_code ec;
  Protocol::acceptor acceptor(io);
  if (activated()) {
    ::fcntl(kListenFdsStart, F_SETFD, FD_CLOEXEC);
    acceptor.assign(Protocol(), kListenFdsStart, ec);
    if (ec) return failed("the socket handed over by the service manager", ec.message());
    return Listener(std::move(acceptor), "", std::nullopt);
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  std::error_code fs_error;
  if (!folder.empty()) std::filesystem::create_directories(std::filesystem::path(folder).parent_path(), fs_error);
  struct stat st {};
  if (!folder.empty() && ::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return failed(path, fmt::format("create {}: {}", folder, std::strerror(errno)));
  if (!folder.empty() && (::lstat(folder.c_str(), &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != ::geteuid() || (st.st_mode & 022) != 0)) {
    return failed(path, fmt::format("{} must be a directory of yours that nobody else can write to", folder));
  }
  auto lock = FileLock::take(path + ".lock", "", [&](const std::string&) {
    return fmt::format("another laresd listens there; end it with `lares shutdown --socket {}`, or give another --socket", path);
  });
  if (!lock) return failed(path, lock.error());
  ::unlink(path.c_str());  // left behind by one that was killed: the lock says that none lives
  const mode_t old = ::umask(0177);
  acceptor.open(Protocol(), ec);
  if (!ec) acceptor.bind(Protocol::endpoint(path), ec);
  if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
  ::umask(old);
  if (ec) return failed(path, ec.message());
  return Listener(std::move(acceptor), path, std::move(*lock));
}

Listener::Listener(Listener&& other) noexcept
    : acceptor_(std::move(other.acceptor_)), path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}

Listener::~Listener() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

long peer_uid(Listener::Protocol::socket& socket) {
  struct ucred who {};
  socklen_t n = sizeof who;
  if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &who, &n) != 0) return -1;
  return static_cast<long>(who.uid);
}

}  // namespace lares::daemon
