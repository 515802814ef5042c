#include "sandbox/proxy.h"

#include <list>
#include <string>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <fmt/format.h>

#include "sandbox/connect_any.h"

namespace lares::sandbox {
namespace {

namespace http = boost::beast::http;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;

constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kCopyBytes = 64 << 10;
constexpr std::chrono::seconds kTold{1};  // of the time to connect: that it did not

// One client. Shared by the coroutines that copy each way and the one that watches the time.
struct Connection {
  explicit Connection(tcp::socket from)
      : client(std::move(from)),
        upstream(client.get_executor()),
        connecting(client.get_executor()),
        resolver(client.get_executor()),
        watch(client.get_executor()) {}
  void close() {
    boost::system::error_code ignored;
    client.close(ignored);
    upstream.close(ignored);
    connecting.cancel();
    resolver.cancel();
    done = true;
    watch.cancel();
  }
  void give(Clock::duration time) { deadline = Clock::now() + time; }
  tcp::socket client, upstream;
  AnyConnection connecting;
  tcp::resolver resolver;
  asio::steady_timer watch;
  Clock::time_point deadline = Clock::now() + kHeaderTime;
  std::uint64_t n_bytes = 0;
  bool done = false;
};
using Shared = std::shared_ptr<Connection>;

// A deadline that moved on is looked at when the old one has come, so that copying need not touch
// the timer.
asio::awaitable<void> watch(Shared connection) {
  while (!connection->done) {
    if (Clock::now() >= connection->deadline) co_return connection->close();
    connection->watch.expires_at(connection->deadline);
    auto [cancelled] = co_await connection->watch.async_wait(kIo);
    (void)cancelled;
  }
}

// Until the end of `from`, which `to` then hears of, or `n_max` bytes. An error on either side ends
// both.
asio::awaitable<void> copy(Shared connection, tcp::socket& from, tcp::socket& to,
                           std::uint64_t n_max, bool tell_end) {
  std::vector<char> buffer(kCopyBytes);
  while (n_max > 0 && !connection->done) {
    const auto room = asio::buffer(
        buffer.data(), static_cast<std::size_t>(std::min<std::uint64_t>(n_max, buffer.size())));
    auto [failed, n] = co_await from.async_read_some(room, kIo);
    if (failed == asio::error::eof) break;
    connection->n_bytes += n;
    if (failed || connection->n_bytes > kConnectionBytesMax) co_return connection->close();
    n_max -= n;
    connection->give(kIdleTime);
    const auto bytes = asio::buffer(buffer.data(), n);
    auto [not_written, written] = co_await asio::async_write(to, bytes, kIo);
    (void)written;
    if (not_written) co_return connection->close();
  }
  boost::system::error_code ignored;
  if (tell_end && !connection->done) to.shutdown(tcp::socket::shutdown_send, ignored);
}

struct Asked {
  Target target;
  bool tunnel = false;
  std::string head;  // of a plain request, as it goes on
  std::uint64_t body_bytes = 0;
  std::string wrong;  // when it cannot be answered
};

bool is_hop_header(http::field name) {
  for (const auto hop :
       {http::field::connection, http::field::proxy_connection, http::field::proxy_authorization,
        http::field::proxy_authenticate, http::field::keep_alive, http::field::te,
        http::field::trailer, http::field::upgrade, http::field::host})
    if (name == hop) return true;
  return false;
}

// One request a connection: a second one might name another host than the one that was looked at.
Asked understand(const http::request_parser<http::empty_body>& parser) {
  const auto& request = parser.get();
  const std::string_view line(request.target().data(), request.target().size());
  Asked out;
  if (request.method() == http::verb::connect) {
    out.tunnel = true;
    out.target = parse_target(line, 0);
    if (out.target.host.empty()) out.wrong = "CONNECT needs HOST:PORT";
    return out;
  }
  if (!line.starts_with("http://")) {
    out.wrong = "this is a proxy: the target must begin with http://, or be asked for by CONNECT";
    return out;
  }
  const auto rest = line.substr(7);
  const auto slash = std::min(rest.find_first_of("/?#"), rest.size());
  out.target = parse_target(rest.substr(0, slash), kHttpPort);
  if (out.target.host.empty()) out.wrong = "the target names no host that could be resolved";
  if (request.count(http::field::transfer_encoding) > 0)
    out.wrong = "a request's body needs a Content-Length here";
  if (const auto length = parser.content_length()) out.body_bytes = *length;
  const auto path = rest.substr(slash);
  out.head = fmt::format(
      "{} {}{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
      std::string_view(request.method_string().data(), request.method_string().size()),
      path.starts_with('/') ? "" : "/", path, std::string_view(rest.data(), slash));
  for (const auto& field : request) {
    if (is_hop_header(field.name())) continue;
    out.head += fmt::format(
        "{}: {}\r\n", std::string_view(field.name_string().data(), field.name_string().size()),
        std::string_view(field.value().data(), field.value().size()));
  }
  out.head += "\r\n";
  return out;
}

asio::awaitable<void> refuse(Shared connection, std::string status, std::string line) {
  const auto text = fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: "
      "close\r\n\r\nlares: {}\n",
      status, line.size() + 8, line);
  auto [failed, n] = co_await asio::async_write(connection->client, asio::buffer(text), kIo);
  (void)failed, (void)n;
  connection->close();
}

// The addresses of a name that may be connected to; empty with `why`.
asio::awaitable<std::vector<tcp::endpoint>> resolve(Shared connection, Target target,
                                                    const AllowList& allow, std::string& why) {
  std::vector<tcp::endpoint> out;
  boost::system::error_code no_address;
  const auto address = asio::ip::make_address(target.host, no_address);
  if (!no_address) {
    out.emplace_back(address, target.port);
  } else {
    const auto service = std::to_string(target.port);
    auto [failed, found] = co_await connection->resolver.async_resolve(
        target.host, service, tcp::resolver::numeric_service, kIo);
    if (failed) why = fmt::format("resolve {}: {}", target.host, failed.message());
    for (const auto& entry : found) out.push_back(entry.endpoint());
  }
  const auto barred = std::erase_if(
      out, [&](const tcp::endpoint& to) { return !allow.allows_address(to.address(), to.port()); });
  if (out.empty() && barred > 0)
    why = fmt::format(
        "{} is an address of this machine or of a private network, which must be listed itself",
        target.host);
  co_return out;
}

class Listening : public std::enable_shared_from_this<Listening> {
 public:
  Listening(asio::any_io_executor io, AllowList allow, OnNetwork on_network)
      : acceptor_(io), room_(io), allow_(std::move(allow)), on_network_(std::move(on_network)) {}

  bool open(Fd listener) {
    boost::system::error_code failed;
    acceptor_.assign(tcp::v4(), listener.get(), failed);
    if (!failed) listener.release();
    return !failed;
  }

  void stop() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    room_.cancel();
    for (const auto& connection : connections_) connection->close();
  }

  static asio::awaitable<void> run(std::shared_ptr<Listening> self) {
    while (self->acceptor_.is_open()) {
      if (self->connections_.size() >= kConnectionsMax) {
        self->room_.expires_at(Clock::time_point::max());
        auto [cancelled] = co_await self->room_.async_wait(kIo);
        (void)cancelled;
        continue;
      }
      auto [failed, socket] = co_await self->acceptor_.async_accept(kIo);
      if (failed == asio::error::operation_aborted || failed == asio::error::bad_descriptor)
        co_return;
      if (failed) {  // out of descriptors, or the client has gone again
        self->room_.expires_after(std::chrono::milliseconds(100));
        auto [cancelled] = co_await self->room_.async_wait(kIo);
        (void)cancelled;
        continue;
      }
      auto connection = std::make_shared<Connection>(std::move(socket));
      self->connections_.push_back(connection);
      spawn_watch(connection);
      asio::co_spawn(self->acceptor_.get_executor(), serve(self, connection),
                     [self, connection](std::exception_ptr) { self->forget(connection); });
    }
  }

 private:
  // What is thrown there (out of memory) ends that connection, and no other.
  static void spawn_watch(const Shared& connection) {
    asio::co_spawn(connection->client.get_executor(), watch(connection),
                   [connection](std::exception_ptr) { connection->close(); });
  }

  void forget(const Shared& connection) {
    connection->close();
    connections_.remove(connection);
    room_.cancel();
  }

  void decided(const Target& target, bool allowed, const std::string& why) const {
    if (on_network_) on_network_({target.host, target.port, allowed, why});
  }

  static asio::awaitable<void> serve(std::shared_ptr<Listening> self, Shared connection) {
    boost::beast::flat_buffer buffer(kRequestHeaderMax + kCopyBytes);
    http::request_parser<http::empty_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(kRequestHeaderMax));
    parser.body_limit(boost::none);
    auto [unreadable, n_read] = co_await http::async_read_header(connection->client, buffer, parser,
                                                                 kIo);
    (void)n_read;
    if (unreadable) {
      if (unreadable.category() == http::make_error_code(http::error::bad_method).category() &&
          unreadable != http::error::end_of_stream)
        co_await refuse(connection, "400 Bad Request",
                        "not a request a proxy could read: " + unreadable.message());
      co_return;
    }
    const Asked asked = understand(parser);
    if (!asked.wrong.empty()) co_return co_await refuse(connection, "400 Bad Request", asked.wrong);
    const Target& target = asked.target;
    if (!self->allow_.allows(target)) {
      self->decided(target, false, "not listed");
      const auto name = target.port == kHttpPort || target.port == kHttpsPort
                            ? target.host
                            : fmt::format("{}:{}", target.host, target.port);
      co_return co_await refuse(
          connection, "403 Forbidden",
          fmt::format("{}:{} is not among the hosts that commands may reach here; only the user "
                      "can allow it, by adding {} to the list of "
                      "hosts (network_allow)",
                      target.host, target.port, name));
    }
    connection->give(kConnectTime);
    std::string why;
    std::vector<tcp::endpoint> addresses = co_await resolve(connection, target, self->allow_, why);
    if (addresses.empty()) {
      const bool barred = why.find("listed itself") != why.npos;
      self->decided(target, false, why);
      co_return co_await refuse(connection, barred ? "403 Forbidden" : "502 Bad Gateway", why);
    }
    const auto left = connection->deadline - Clock::now();
    auto connecting = connection->connecting.connect(
        connection->upstream, std::move(addresses),
        std::chrono::duration_cast<std::chrono::milliseconds>(left) - kTold);
    const auto unreachable = co_await std::move(connecting);
    self->decided(target, true, unreachable ? "connect: " + unreachable.message() : "");
    if (unreachable)
      co_return co_await refuse(
          connection, "502 Bad Gateway",
          fmt::format("connect to {}:{}: {}", target.host, target.port, unreachable.message()));
    connection->give(kIdleTime);
    co_await relay(connection, asked, buffer);
  }

  static asio::awaitable<void> relay(Shared connection, const Asked& asked,
                                     boost::beast::flat_buffer& buffer) {
    // What has been read beyond the header belongs to the tunnel, or to the body.
    std::string early(static_cast<const char*>(buffer.data().data()), buffer.size());
    std::uint64_t left = kConnectionBytesMax;
    if (asked.tunnel) {
      const std::string answer = "HTTP/1.1 200 Connection established\r\n\r\n";
      auto [failed, n] = co_await asio::async_write(connection->client, asio::buffer(answer), kIo);
      (void)n;
      if (failed) co_return;
    } else {
      if (early.size() > asked.body_bytes) early.resize(static_cast<std::size_t>(asked.body_bytes));
      left = asked.body_bytes - early.size();
      early.insert(0, asked.head);
    }
    auto [failed, n] = co_await asio::async_write(connection->upstream, asio::buffer(early), kIo);
    (void)n;
    if (failed) co_return;
    // The way there runs beside the way back. Back is the one to wait for: a server that closes has
    // said all.
    const bool tunnel = asked.tunnel;
    asio::co_spawn(connection->client.get_executor(),
                   copy(connection, connection->client, connection->upstream, left, tunnel),
                   [connection](std::exception_ptr thrown) {
                     if (thrown) connection->close();
                   });
    co_await copy(connection, connection->upstream, connection->client, kConnectionBytesMax, true);
  }

  tcp::acceptor acceptor_;
  asio::steady_timer room_;
  AllowList allow_;
  OnNetwork on_network_;
  std::list<Shared> connections_;
};

class Handle : public Proxy {
 public:
  explicit Handle(std::shared_ptr<Listening> listening) : listening_(std::move(listening)) {}
  ~Handle() override { stop(); }
  void stop() override { listening_->stop(); }

 private:
  std::shared_ptr<Listening> listening_;
};

}  // namespace

std::unique_ptr<Proxy> Proxy::start(asio::any_io_executor io, Fd listener, AllowList allow,
                                    OnNetwork on_network) {
  auto listening = std::make_shared<Listening>(io, std::move(allow), std::move(on_network));
  if (!listening->open(std::move(listener))) return nullptr;
  asio::co_spawn(io, Listening::run(listening),
                 [listening](std::exception_ptr) { listening->stop(); });
  return std::make_unique<Handle>(std::move(listening));
}

}  // namespace lares::sandbox
