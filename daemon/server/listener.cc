#include "daemon/server/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "tools/workspace/own_files.h"

namespace lares::daemon {
namespace {

constexpr int kListenFdsStart = 3;  // sd_listen_fds(3)

// How many sockets the service manager handed over to this very process, by sd_listen_fds(3)'s
// variables; children must not see those.
int n_handed_over() {
  const char* const pid = std::getenv("LISTEN_PID");
  const char* const n = std::getenv("LISTEN_FDS");
  const auto number = [](const char* text) {
    long value = 0;
    if (text) std::from_chars(text, text + std::strlen(text), value);
    return value;
  };
  const int count = number(pid) == ::getpid() ? static_cast<int>(number(n)) : 0;
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
  return count;
}

int socket_option(int fd, int name) {
  int value = -1;
  socklen_t n = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &n) == 0 ? value : -1;
}

// The path of a listening Unix stream socket of this user's.
tl::expected<std::string, std::string> path_of(int fd) {
  if (socket_option(fd, SO_DOMAIN) != AF_UNIX || socket_option(fd, SO_TYPE) != SOCK_STREAM)
    return tl::unexpected<std::string>(
        "it is no Unix stream socket; ListenStream= in lares.socket must be a path");
  if (socket_option(fd, SO_ACCEPTCONN) != 1)
    return tl::unexpected<std::string>("it does not listen; lares.socket must have Accept=no");
  sockaddr_un address{};
  socklen_t n = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &n) != 0)
    return tl::unexpected<std::string>(std::strerror(errno));
  if (n <= offsetof(sockaddr_un, sun_path) || address.sun_path[0] == '\0')
    return tl::unexpected<std::string>(
        "it has no path, so anybody could connect; ListenStream= in lares.socket must be a path");
  const std::string path(address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path));
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0)
    return tl::unexpected(
        fmt::format("{}: {}; start lares.socket anew", path, std::strerror(errno)));
  if (!S_ISSOCK(st.st_mode) || st.st_uid != ::geteuid() || (st.st_mode & 077) != 0)
    return tl::unexpected(
        fmt::format("{} is not this user's alone; lares.socket must have SocketMode=0600", path));
  return path;
}

tl::unexpected<std::string> failed(const std::string& path, std::string_view why) {
  return tl::unexpected(fmt::format("listen on {}: {}", path, why));
}

}  // namespace

tl::expected<std::optional<HandedOver>, std::string> handed_over() {
  const int n = n_handed_over();
  if (n == 0) return std::nullopt;
  constexpr const char* kWhat = "the socket handed over by the service manager";
  if (n != 1)
    return failed(kWhat, fmt::format("there are {}; lares.socket must have one ListenStream=", n));
  ::fcntl(kListenFdsStart, F_SETFD, FD_CLOEXEC);
  auto path = path_of(kListenFdsStart);
  if (!path) return failed(kWhat, path.error());
  return HandedOver{kListenFdsStart, *path};
}

tl::expected<Listener, std::string> Listener::take(asio::any_io_executor io,
                                                   const HandedOver& socket) {
  boost::system::error_code ec;
  Protocol::acceptor acceptor(io);
  acceptor.assign(Protocol(), socket.fd, ec);
  if (ec) return failed(socket.path, ec.message());
  return Listener(std::move(acceptor), "", std::nullopt);
}

tl::expected<Listener, std::string> Listener::open(asio::any_io_executor io,
                                                   const std::string& path) {
  boost::system::error_code ec;
  Protocol::acceptor acceptor(io);
  const std::string folder = std::filesystem::path(path).parent_path().string();
  std::error_code fs_error;
  if (!folder.empty())
    std::filesystem::create_directories(std::filesystem::path(folder).parent_path(), fs_error);
  struct stat st {};
  const bool made = !folder.empty() && ::mkdir(folder.c_str(), 0700) == 0;
  if (!folder.empty() && !made && errno != EEXIST)
    return failed(path, fmt::format("create {}: {}; give another --socket, or set LARES_SOCKET",
                                    folder, std::strerror(errno)));
  if (made) tools::mark_as_own(folder);
  if (!folder.empty() && (::lstat(folder.c_str(), &st) != 0 || !S_ISDIR(st.st_mode) ||
                          st.st_uid != ::geteuid() || (st.st_mode & 022) != 0)) {
    return failed(path, fmt::format("{} must be a directory of yours that nobody else can write "
                                    "to; give another --socket, or set LARES_SOCKET",
                                    folder));
  }
  auto lock = FileLock::take(path + ".lock", "", [&](const std::string&) {
    return fmt::format(
        "another laresd listens there; end it with `lares shutdown --socket {}`, or give another "
        "--socket",
        path);
  });
  if (!lock) return failed(path, lock.error());
  if (::lstat(path.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode))
      return failed(
          path, "there is something else of that name; give another --socket, or set LARES_SOCKET");
    ::unlink(path.c_str());  // left behind by one that was killed: the lock says that none lives
  }
  const mode_t old = ::umask(0177);
  acceptor.open(Protocol(), ec);
  if (!ec) acceptor.bind(Protocol::endpoint(path), ec);
  if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
  ::umask(old);
  if (ec) return failed(path, ec.message());
  return Listener(std::move(acceptor), path, std::move(*lock));
}

Listener::Listener(Listener&& other) noexcept
    : acceptor_(std::move(other.acceptor_)),
      path_(std::exchange(other.path_, {})),
      lock_(std::move(other.lock_)) {}

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
