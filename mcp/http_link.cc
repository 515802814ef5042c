#include "mcp/http_link.h"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <utility>
#include <vector>

#include "mcp/deadline.h"
#include "sandbox/connect_any.h"

namespace lares::mcp {
namespace {

using Tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
template <class T>
using Result = tl::expected<T, std::string>;

template <class Stream>
class StreamLink final : public Link {
 public:
  explicit StreamLink(Stream stream) : stream_(std::move(stream)) {}

  asio::awaitable<Result<void>> write(const std::string& bytes) override {
    auto [ec, n] = co_await asio::async_write(stream_, asio::buffer(bytes), kIo);
    Result<void> done;
    if (ec) done = tl::unexpected(ec.message());
    co_return done;
  }
  asio::awaitable<Result<std::size_t>> read(std::span<char> into) override {
    auto [ec, n] = co_await stream_.async_read_some(asio::buffer(into.data(), into.size()), kIo);
    Result<std::size_t> got = n;
    // Many servers end a TLS stream without saying so; HTTP's own framing tells whether something
    // is missing.
    const bool over = ec == asio::error::eof || ec == asio::ssl::error::stream_truncated;
    if (ec && !over) got = tl::unexpected(ec.message());
    co_return got;
  }

 private:
  Stream stream_;
};

using TlsStream = asio::ssl::stream<Tcp::socket>;

// One for all: reading the system's certificates takes 20 ms.
asio::ssl::context& tls() {
  static asio::ssl::context context = [] {
    asio::ssl::context made(asio::ssl::context::tls_client);
    boost::system::error_code ignored;  // without certificates every handshake fails, and says so
    made.set_default_verify_paths(ignored);
    made.set_verify_mode(asio::ssl::verify_peer, ignored);
    return made;
  }();
  return context;
}

asio::awaitable<Result<std::unique_ptr<Link>>> shake_hands(TlsStream stream, std::string host) {
  boost::system::error_code ignored;
  stream.set_verify_callback(asio::ssl::host_name_verification(host), ignored);
  asio::ip::make_address(host, ignored);
  // a name: TLS has no such field for addresses
  if (ignored) SSL_set_tlsext_host_name(stream.native_handle(), host.c_str());
  const auto hang_up = [&] {
    boost::system::error_code unheard;
    stream.next_layer().close(unheard);
  };
  Deadline deadline(stream.get_executor(), kDialTimeoutMs, hang_up);
  auto [ec] = co_await stream.async_handshake(TlsStream::client, kIo);
  deadline.stop();
  Result<std::unique_ptr<Link>> made;
  if (ec)
    made = tl::unexpected("TLS handshake: " + ec.message());
  else
    made = std::make_unique<StreamLink<TlsStream>>(std::move(stream));
  co_return made;
}

}  // namespace

asio::awaitable<Result<std::unique_ptr<Link>>> dial(asio::any_io_executor io, Url url) {
  const auto until = Clock::now() + milliseconds(kDialTimeoutMs);
  Tcp::resolver resolver(io);
  const auto give_up = [&] { resolver.cancel(); };
  Deadline deadline(io, kDialTimeoutMs, give_up);
  Result<std::unique_ptr<Link>> made;
  const auto [unknown, hosts] = co_await resolver.async_resolve(url.host, url.port, kIo);
  deadline.stop();
  if (unknown || deadline.late()) {
    made = tl::unexpected(deadline.late()
                              ? fmt::format("no address within {} s", kDialTimeoutMs / 1000)
                              : unknown.message());
    co_return made;
  }
  std::vector<Tcp::endpoint> addresses;
  for (const auto& host : hosts) addresses.push_back(host.endpoint());
  Tcp::socket socket(io);
  const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
  sandbox::AnyConnection any(io);
  auto connecting = any.connect(socket, std::move(addresses), left);
  const auto refused = co_await std::move(connecting);
  if (refused) {
    made = tl::unexpected(refused == asio::error::timed_out
                              ? fmt::format("no answer within {} s", kDialTimeoutMs / 1000)
                              : refused.message());
    co_return made;
  }
  boost::system::error_code ignored;
  socket.set_option(Tcp::no_delay(true), ignored);
  // a stream may be silent for days
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  if (url.tls) {
    auto shaking = shake_hands(TlsStream(std::move(socket), tls()), url.host);
    made = co_await std::move(shaking);
  } else {
    made = std::make_unique<StreamLink<Tcp::socket>>(std::move(socket));
  }
  co_return made;
}

}  // namespace lares::mcp
