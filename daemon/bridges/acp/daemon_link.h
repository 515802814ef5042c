// The daemon, as a bridge needs it: found, started where it is wanted and none runs, and found
// again when it is lost.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>

#include "daemon/bridges/acp/message.h"
#include "daemon/client/answer_bounds.h"
#include "daemon/client/start.h"

namespace lares::daemon {
class Gate;
}

namespace lares::cli::acp {

namespace asio = boost::asio;

// How long a daemon that takes connections may be silent. Beyond it whoever asked is told; an
// answer that comes later is dropped.
struct LinkBounds {
  // Initialize; then the connection is given up and tried again
  std::chrono::milliseconds greeting{10'000};
  std::chrono::milliseconds answer{60'000};               // any other request
  std::chrono::milliseconds long_answer = kFilesTimeout;  // what works_on_files()
};

class DaemonLink {
 public:
  struct Events {  // called on the executor
    // connected, again: before any call that waits for it is made
    std::function<asio::awaitable<void>()> up;
    std::function<void()> down;
    std::function<void(const protocol::Message&)> notified;
    std::function<void(const Fault&)> gave_up;  // it is wanted, and cannot be had
    // Somebody waits for what only a daemon can do: start one where none runs
    std::function<bool()> wanted;
    std::function<asio::awaitable<void>()> may_go_on;  // before more is read from it
  };
  DaemonLink(asio::any_io_executor io, const DaemonAddress& address, Events events,
             LinkBounds bounds = {});  // `address` outlives it
  ~DaemonLink();
  DaemonLink(const DaemonLink&) = delete;
  DaemonLink& operator=(const DaemonLink&) = delete;

  asio::awaitable<void> run();  // never ends

  bool up() const { return up_; }
  bool starting() const { return starting_; }  // a thread waits for a daemon that begins
  // When it is there, or cannot be had.
  asio::awaitable<Reply<>> reachable();
  // Waits for that.
  asio::awaitable<Reply<Json>> call(std::string method, Json params);
  // On this connection or not at all; what `up` has to use. A line that the daemon would not read
  // is refused here.
  asio::awaitable<Reply<Json>> call_now(std::string method, Json params);
  template <class Request>
  asio::awaitable<Reply<Json>> call(Request request) {
    return call(std::string(Request::kMethod), protocol::to_json(std::move(request)));
  }
  template <class Request>
  asio::awaitable<Reply<Json>> call_now(Request request) {
    return call_now(std::string(Request::kMethod), protocol::to_json(std::move(request)));
  }

 private:
  struct Connection;
  struct Pending;
  asio::awaitable<Reply<>> connect();
  asio::awaitable<Reply<>> start_daemon();
  asio::awaitable<void> establish();
  asio::awaitable<void> serve();
  asio::awaitable<void> pause();
  std::chrono::milliseconds bound_of(std::string_view method) const;
  void settle(Reply<> attempt);
  void lose();
  void take(std::string_view line);
  void write(std::string line);
  void write_next(const std::shared_ptr<Connection>& to);

  asio::any_io_executor io_;
  const DaemonAddress& address_;
  Events events_;
  const LinkBounds bounds_;
  asio::thread_pool starter_{1};
  std::shared_ptr<Connection> connection_;
  std::map<std::int64_t, std::shared_ptr<Pending>> pending_;
  std::int64_t last_id_ = 0;
  // refused_: this connection's greeting, and everybody was told
  bool up_ = false, starting_ = false, refused_ = false;
  int n_waiting_ = 0, n_failed_ = 0;  // calls; attempts in a row
  Reply<> last_attempt_;
  std::shared_ptr<daemon::Gate> attempt_;  // opens when the next attempt is over
  std::shared_ptr<daemon::Gate> wake_;     // opens when an attempt need not wait any longer
};

}  // namespace lares::cli::acp
