// One client on the socket: lines in, lines out, and what happens when it does not read them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include "daemon/gate.h"
#include "daemon/server/listener.h"
#include "daemon/server/server.h"

namespace lares::daemon {

class McpStream;

class Connection final : public Subscriber, public std::enable_shared_from_this<Connection> {
 public:
  // Long lines are read on `aside`.
  Connection(Server& server, asio::thread_pool& aside, Listener::Protocol::socket socket);

  ~Connection() override;

  asio::awaitable<void> run();  // until the client leaves or is evicted
  void close();

  // Answers are sent before anything that follows from them.
  void send(std::string line);
  bool initialized() const { return initialized_; }
  bool closed() const { return closed_; }
  bool may_change() const { return role_ == "control"; }
  // Until there is room for an answer as long as a page of a history.
  asio::awaitable<void> room() { return room_.wait(); }

  // Replays what came after `after` at the pace the client reads, then goes live.
  void follow(std::shared_ptr<Session> session, std::int64_t after, bool interactive);
  void unfollow(const std::string& session_id);
  bool follows(const std::string& session_id) const { return following_.contains(session_id); }

  // Subscriber
  void notify(const std::string& session_id, const std::string& line, Weight weight) override;
  bool interactive(const std::string& session_id) const override;

 private:
  struct Following {
    std::shared_ptr<Session> session;
    bool interactive = false, live = false, lost_deltas = false;
    int generation = 0;  // a new subscription replaces the one before
  };
  struct Request;  // a line that was read
  using RequestPtr = std::shared_ptr<const Request>;
  asio::awaitable<void> read_lines();
  asio::awaitable<void> take_line(std::string_view line);
  asio::awaitable<void> answer_the_rest();
  void speak_mcp();
  bool waits() const;  // for something that it asked for
  asio::awaitable<void> write_lines();
  asio::awaitable<bool> write(std::string_view line);  // false: there is nobody to read it
  asio::awaitable<void> watch();
  asio::awaitable<void> watch_last_words();
  asio::awaitable<void> answer(RequestPtr request);
  asio::awaitable<void> replay(std::string session_id, std::int64_t after, int generation);
  RequestPtr read(std::string_view line) const;  // on any thread
  void take(RequestPtr request);
  void initialize(const protocol::Message& message);
  void refuse(const protocol::Id& id, protocol::Code code, std::string message,
              std::string hint = "");
  void evict(const std::string& why);
  void catch_up();

  Server& server_;
  asio::thread_pool& aside_;
  Listener::Protocol::socket socket_;
  std::unique_ptr<McpStream> mcp_;  // an MCP client: it has said so with its first line
  std::string role_ = "control";
  bool initialized_ = false, closed_ = false;
  bool left_ = false;         // it has hung up: there is nobody to answer
  bool write_ended_ = false;  // write_lines() is over: nothing more is written
  std::deque<std::string> outbox_;
  std::size_t outbox_bytes_ = 0;
  int n_outstanding_ = 0;
  std::chrono::steady_clock::time_point wrote_ = std::chrono::steady_clock::now();
  Gate something_to_write_, room_, written_;
  Gate answered_;  // waits() is to be looked at again
  asio::steady_timer watchdog_;
  std::map<std::string, Following> following_;
  int generations_ = 0;
};

}  // namespace lares::daemon
