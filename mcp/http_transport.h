// A server over Streamable HTTP: each message is a POST, whose response brings the answer and what
// belongs to it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "mcp/http_exchange.h"
#include "mcp/sse.h"
#include "mcp/transport.h"

namespace lares::mcp {

class HttpTransport final : public Transport, public std::enable_shared_from_this<HttpTransport> {
 public:
  HttpTransport(asio::any_io_executor io, Url url, Headers headers, const Limits& limits);

  void start(Events events) override { events_ = std::move(events); }
  void send(Outgoing message) override;
  bool abandon(std::int64_t id) override;
  void speak(Era era, const std::string& version) override { era_ = era, version_ = version; }
  void listen() override;
  bool has_headers() const override { return true; }
  bool alive() const override { return !ended_; }
  const std::string& why_ended() const override { return why_ended_; }
  void close(const std::string& why) override;

 private:
  // One POST or the listening stream, from its start to the end of whatever it brings.
  struct Flight {
    std::optional<std::int64_t> id;
    bool answered = false;
    std::deque<std::string> events;  // of a stream, that were not read yet
    asio::cancellation_signal stop;
  };
  using FlightPtr = std::shared_ptr<Flight>;

  void fly(Outgoing message);
  asio::awaitable<void> post(FlightPtr flight, Outgoing message);
  bool moves(const ResponseHead& head);
  asio::awaitable<void> listen_loop(FlightPtr flight);
  asio::awaitable<void> read_answer(FlightPtr flight, Exchange& response);
  asio::awaitable<void> read_stream(FlightPtr flight, std::unique_ptr<Exchange> response);
  asio::awaitable<std::optional<std::string>> read_events(FlightPtr flight, SseParser& events,
                                                          Exchange& response);
  asio::awaitable<tl::expected<std::unique_ptr<Exchange>, Failure>> resume(SseParser& events);
  asio::awaitable<void> fail_by_status(FlightPtr flight, Exchange& response);
  HttpRequest request(std::string method, std::string body, const Headers& more) const;
  SseParser parser(FlightPtr flight);
  asio::awaitable<std::optional<std::string>> receive_events(FlightPtr flight);
  void receive(const FlightPtr& flight, Message message);
  void fail(const FlightPtr& flight, Failure failure);
  void cancel(const FlightPtr& flight);
  void end(const std::string& why);

  asio::any_io_executor io_;
  Url url_;
  Headers headers_;
  Limits limits_;
  Events events_;
  Era era_ = Era::modern;
  std::string version_, session_;
  std::map<std::uint64_t, FlightPtr> flights_;
  std::uint64_t n_flights_ = 0;
  bool holding_ = false;  // the first message has not been taken yet
  std::deque<Outgoing> held_;
  bool ended_ = false;
  std::string why_ended_;
};

}  // namespace lares::mcp
