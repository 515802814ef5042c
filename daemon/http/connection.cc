#include "daemon/http/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <exception>
#include <utility>

#include <fmt/format.h>

#include "daemon/http/answer.h"
#include "daemon/http/request_parser.h"
#include "daemon/http/server.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kPathShown = 200;  // bytes, in the log

// What is neither, or cannot be told, is looked at as closely as TCP.
CameOver way_of(const HttpStream::Socket& socket) {
  boost::system::error_code ec;
  const auto here = socket.local_endpoint(ec);
  return !ec && here.protocol().family() == AF_UNIX ? CameOver::unix_socket : CameOver::tcp;
}

}  // namespace

// Of the bytes that all requests together may hold.
class HttpConnection::BodyShare {
 public:
  explicit BodyShare(HttpServer& server) : server_(server) {}
  BodyShare(const BodyShare&) = delete;
  ~BodyShare() { server_.bodies_shrink(bytes_); }
  bool grow_to(std::size_t bytes) {
    if (bytes > bytes_ && !server_.bodies_grow(bytes - bytes_)) return false;
    bytes_ = std::max(bytes_, bytes);
    return true;
  }

 private:
  HttpServer& server_;
  std::size_t bytes_ = 0;
};

HttpConnection::HttpConnection(HttpServer& server, HttpStream::Socket socket, std::string token,
                               bool crowded)
    : server_(server),
      over_(way_of(socket)),
      stream_(std::make_shared<HttpStream>(server.io(), std::move(socket), server.limits(),
                                           server.log())),
      token_(std::move(token)),
      crowded_(crowded) {}

asio::awaitable<void> HttpConnection::run() {
  stream_->start();
  bool goes_on = true;  // g++ 12 ends a loop with `&& co_await` in its condition in nonsense here
  while (goes_on && !stopping_) goes_on = co_await one_request();
  co_await stream_->finish();
}

void HttpConnection::stop() {
  stopping_ = true;
  stream_->say_gone();
  if (idle_) close();
}

void HttpConnection::close() {
  idle_ = free_ = false;
  stream_->close();
}

asio::awaitable<bool> HttpConnection::one_request() {
  idle_ = free_ = true;
  free_since_ = HttpStream::Clock::now();
  HttpRequestParser parser(server_.limits());
  BodyShare share(server_);
  const HttpHandler* handler = nullptr;
  auto refusal = co_await read(parser, /*whole=*/false, share);
  bool in_step = !refusal;  // what comes next is a request's beginning
  if (!refusal) refusal = refuse(parser.request(), handler);
  if (!refusal) free_ = false;
  if (!refusal && parser.expects_continue()) {
    std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    co_await stream_->send(std::move(go_on));
  }
  if (!refusal) {
    refusal = co_await read(parser, /*whole=*/true, share);
    in_step = !refusal;
  }
  if (refusal && refusal->status == 0) co_return false;

  const bool keeps_alive = parser.keeps_alive() && in_step && parser.is_done() && !stopping_ &&
                           !crowded_;
  HttpAnswer answer(*stream_, parser.take_request(),
                    {.http_10 = parser.is_http_10(), .keeps_alive = keeps_alive});
  if (refusal) {
    HttpReply reply = server_.router().refusal(answer.request().path, refusal->status,
                                               refusal->message);
    reply.headers.insert(reply.headers.end(), refusal->headers.begin(), refusal->headers.end());
    co_await answer.reply(std::move(reply));
  } else {
    co_await handle(*handler, answer);
  }
  if (answer.status() >= 400) {
    const auto& request = answer.request();
    server_.log().event("http_refused", {{"method", request.method},
                                         {"path", request.path.substr(0, kPathShown)},
                                         {"status", answer.status()}});
  }
  co_return answer.leaves_open();
}

asio::awaitable<std::optional<HttpRefusal>> HttpConnection::read(HttpRequestParser& parser,
                                                                 bool whole, BodyShare& share) {
  const HttpLimits& limits = server_.limits();
  stream_->expect_within(whole ? limits.body_silence : limits.idle);
  while (!(whole ? parser.is_done() : parser.has_head())) {
    const auto taken = parser.put(stream_->received());
    if (!taken) co_return taken.error();
    stream_->consume(*taken);
    if (parser.has_begun() && std::exchange(idle_, false))
      stream_->expect_within(limits.header_time);
    if (!share.grow_to(parser.body_bytes())) {
      co_return HttpRefusal{503,
                            fmt::format("read the request: those that are being answered hold {} "
                                        "bytes, and more are not taken; try again",
                                        limits.bodies_bytes),
                            {{"Retry-After", "1"}}};
    }
    if (*taken > 0) continue;
    if (stream_->is_full())
      co_return HttpRefusal{whole ? 400u : 431u,
                            fmt::format("read the request: a part of it is longer than {} bytes",
                                        limits.header_bytes)};
    if (!co_await stream_->more()) {
      if (stopping_ || idle_ || !stream_->timed_out()) co_return HttpRefusal{0, ""};
      co_return HttpRefusal{408, fmt::format("read the request: its {} did not come in time",
                                             whole ? "body" : "headers")};
    }
    if (whole) stream_->expect_within(limits.body_silence);
  }
  stream_->expect_at_leisure();
  co_return std::nullopt;
}

std::optional<HttpRefusal> HttpConnection::refuse(const HttpRequest& request,
                                                  const HttpHandler*& handler) const {
  if (auto refusal = refuse_access(request, token_, over_)) return refusal;
  if (crowded_)
    return HttpRefusal{503,
                       fmt::format("more than {} clients are connected; close some, or try again",
                                   server_.limits().connections),
                       {{"Retry-After", "1"}}};
  if (stopping_) return HttpRefusal{503, "the daemon is ending; try again", {{"Retry-After", "1"}}};
  const auto found = server_.router().find(request.method, request.path);
  handler = found.handler;
  if (found.handler) return std::nullopt;
  if (found.allow.empty())
    return HttpRefusal{404, fmt::format("{} is not served here", request.path)};
  return HttpRefusal{
      405,
      fmt::format("{} takes {}, and not {}", request.path, found.allow, request.method),
      {{"Allow", found.allow}}};
}

asio::awaitable<void> HttpConnection::handle(const HttpHandler& handler, HttpAnswer& answer) {
  std::string why = "it gave no answer";
  try {
    co_await handler(answer);
  } catch (const std::exception& e) {
    why = e.what();
  }
  if (answer.is_whole()) co_return;
  const HttpRequest& request = answer.request();
  server_.log().event(
      "http_failed",
      {{"method", request.method}, {"path", request.path.substr(0, kPathShown)}, {"why", why}});
  HttpReply reply = server_.router().refusal(
      request.path, 500, fmt::format("answer {} {}: {}", request.method, request.path, why));
  co_await answer.reply(std::move(reply));  // nothing, where a stream has begun: that is cut
}

}  // namespace lares::daemon
