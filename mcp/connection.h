// One life of one server: its process, the requests that wait for it, and why it ended. Runs on the
// io thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "mcp/process.h"

namespace lares::mcp {

namespace asio = boost::asio;

struct Limits {
  std::size_t line_bytes = 16 << 20;    // of one message from the server
  std::size_t outbox_bytes = 32 << 20;  // written for a server that does not read
  int n_garbage_lines = 100;            // tolerated in one life
  int start_timeout_ms = 30'000;        // from the process to the answer to `initialize`
  int list_timeout_ms = 30'000;
  int call_timeout_ms = 300'000;
  int backoff_ms = 1'000;  // after the second death in a row; doubles with each
  int backoff_max_ms = 60'000;
};

struct Failure {
  enum Kind { timed_out, died, refused, cancelled } kind;
  std::string
      why;  // follows the server's name: "did not answer within 30 s", "died: exit status 1"
};
template <class T>
using Reply = tl::expected<T, Failure>;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(asio::any_io_executor io, Child child, const Limits& limits);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  void start();  // reading
  asio::awaitable<Reply<nlohmann::json>> request(std::string method, nlohmann::json params,
                                                 int timeout_ms);
  void notify(std::string_view method, nlohmann::json params);
  bool alive() const { return !ended_; }
  const std::string& why_ended() const { return why_ended_; }
  // True once after the server said that its tools changed.
  bool take_tools_changed() { return std::exchange(tools_changed_, false); }
  // Ends the process and whatever waits.
  void close(const std::string& why, int grace_ms);

 private:
  struct Pending {
    explicit Pending(const asio::any_io_executor& io) : wake(io) {}
    asio::steady_timer wake;
    std::optional<Reply<nlohmann::json>> reply;
  };

  asio::awaitable<void> read_loop();
  asio::awaitable<void> stderr_loop();
  asio::awaitable<void> await_exit();
  void receive(std::string_view line);
  void send(std::string line);
  void write_next();
  void end_because(const std::string& what);
  std::string last_words() const;

  asio::any_io_executor io_;
  Limits limits_;
  pid_t pid_;
  asio::posix::stream_descriptor in_, out_, err_, exit_;
  std::map<std::int64_t, std::shared_ptr<Pending>> pending_;
  std::deque<std::string> outbox_;
  std::size_t outbox_bytes_ = 0;
  std::int64_t next_id_ = 1;
  int n_garbage_ = 0;
  bool ended_ = false, reaped_ = false, tools_changed_ = false;
  std::string why_ended_, stderr_tail_;
};

}  // namespace lares::mcp
