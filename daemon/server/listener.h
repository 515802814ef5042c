// The daemon's Unix socket: in a private directory, one daemon per socket, or handed over by the
// service manager.
#pragma once

#include <optional>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <tl/expected.hpp>

#include "daemon/file_lock.h"

namespace lares::daemon {

namespace asio = boost::asio;

// A listening socket that systemd made, and that outlives the daemon: who connects while none runs
// waits in its queue, and starts one.
struct HandedOver {
  int fd;
  std::string path;
};
// By sd_listen_fds(3)'s variables, which are taken out of the environment. Nothing: this daemon was
// not started so. The error, one line, says why the socket is none to serve: it must be one Unix
// stream socket that listens at a path of this user's alone.
tl::expected<std::optional<HandedOver>, std::string> handed_over();

class Listener {
 public:
  using Protocol = asio::local::stream_protocol;

  // Directory 0700 (made when missing; another user's is refused), socket 0600, a lock file beside
  // it held for as long as this lives. The error is one line.
  static tl::expected<Listener, std::string> open(asio::any_io_executor io,
                                                  const std::string& path);
  // Leaves the socket where it is when it ends.
  static tl::expected<Listener, std::string> take(asio::any_io_executor io,
                                                  const HandedOver& socket);
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();  // removes the socket it made

  Protocol::acceptor& acceptor() { return acceptor_; }

 private:
  Listener(Protocol::acceptor acceptor, std::string path, std::optional<FileLock> lock)
      : acceptor_(std::move(acceptor)), path_(std::move(path)), lock_(std::move(lock)) {}
  Protocol::acceptor acceptor_;
  std::string path_;  // empty: not ours to remove
  std::optional<FileLock> lock_;
};

// The user at the other end, by the kernel's word; -1 when it cannot be told.
long peer_uid(Listener::Protocol::socket& socket);

}  // namespace lares::daemon
