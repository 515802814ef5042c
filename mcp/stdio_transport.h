// A server over the pipes of its process: one message a line, and all that the process has started
// ends with it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "mcp/process.h"
#include "mcp/transport.h"

namespace lares::mcp {

namespace asio = boost::asio;

class StdioTransport final : public Transport, public std::enable_shared_from_this<StdioTransport> {
 public:
  StdioTransport(asio::any_io_executor io, Child child, const Limits& limits);
  StdioTransport(const StdioTransport&) = delete;
  StdioTransport& operator=(const StdioTransport&) = delete;
  ~StdioTransport() override;

  void start(Events events) override;
  void send(Outgoing message) override;
  bool abandon(std::int64_t) override { return false; }
  void speak(Era, const std::string&) override {}
  bool alive() const override { return !ended_; }
  const std::string& why_ended() const override { return why_ended_; }
  void close(const std::string& why) override;  // politely, beside whatever else runs

 private:
  asio::awaitable<void> read_loop();
  asio::awaitable<void> stderr_loop();
  asio::awaitable<void> await_exit();
  asio::awaitable<void> receive(std::string_view line);
  void write_next();
  void kill(const std::string& why);
  void end(const std::string& why);
  std::string last_words() const;

  asio::any_io_executor io_;
  Limits limits_;
  Tree tree_;
  asio::posix::stream_descriptor in_, out_, err_, exit_;
  Events events_;
  std::deque<std::string> outbox_;
  std::size_t outbox_bytes_ = 0;
  int n_garbage_ = 0;     // since the last message
  bool reading_ = false;  // a line, on the threads
  bool ended_ = false;
  std::string why_ended_, stderr_tail_;
};

}  // namespace lares::mcp
