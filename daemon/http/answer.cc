#include "daemon/http/answer.h"

#include <ctime>
#include <utility>

#include <boost/beast/http/status.hpp>
#include <fmt/format.h>

namespace lares::daemon {
namespace {

constexpr std::string_view kLastChunk = "0\r\n\r\n";

std::string date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  return std::string(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc));
}

// A value that held a line's end would be headers, or a body, of somebody else's making.
std::string one_line(std::string value) {
  for (char& c : value) {
    if (c == '\r' || c == '\n' || c == '\0') c = ' ';
  }
  return value;
}

std::string_view reason(unsigned status) {
  const auto known = boost::beast::http::int_to_status(status);
  if (known == boost::beast::http::status::unknown) return "Other";
  const auto text = boost::beast::http::obsolete_reason(known);
  return {text.data(), text.size()};
}

bool has_body(unsigned status) { return status >= 200 && status != 204 && status != 304; }

}  // namespace

HttpAnswer::HttpAnswer(HttpStream& stream, HttpRequest request, Framing framing)
    : stream_(stream),
      request_(std::move(request)),
      framing_(framing),
      head_only_(request_.method == "HEAD") {}

HttpAnswer::~HttpAnswer() { stream_.be_silent(); }

std::string HttpAnswer::head(const HttpReply& reply, bool sized) {
  status_ = reply.status;
  // Without a length and without chunks, HTTP/1.0's bodies end where the connection does.
  if (!sized && !is_chunked()) framing_.keeps_alive = false;
  std::string out = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", reply.status,
                                reason(reply.status), date());
  if (has_body(reply.status)) {
    out += fmt::format("Content-Type: {}\r\n", one_line(reply.content_type));
    if (sized)
      out += fmt::format("Content-Length: {}\r\n", reply.body.size());
    else if (is_chunked())
      out += "Transfer-Encoding: chunked\r\n";
  }
  for (const auto& [name, value] : reply.headers)
    out += fmt::format("{}: {}\r\n", name, one_line(value));
  if (!framing_.keeps_alive)
    out += "Connection: close\r\n";
  else if (framing_.http_10)
    out += "Connection: keep-alive\r\n";
  return out + "\r\n";
}

std::string HttpAnswer::framed(std::string bytes) const {
  return is_chunked() ? fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes) : bytes;
}

asio::awaitable<void> HttpAnswer::reply(HttpReply reply) {
  stream_.be_silent();
  std::string bytes;
  if (state_ == State::blank_lines) {
    if (!reply.body.empty()) bytes = framed(std::move(reply.body));
    if (is_chunked()) bytes += kLastChunk;
  } else if (state_ == State::nothing) {
    bytes = head(reply, /*sized=*/true);
    if (!head_only_ && has_body(reply.status)) bytes += reply.body;
  } else {
    co_return;
  }
  state_ = State::ended;
  co_await stream_.send(std::move(bytes));
}

std::string HttpAnswer::blank_line() {
  std::string bytes;
  if (state_ == State::nothing) bytes = head({}, /*sized=*/false);
  state_ = State::blank_lines;
  return bytes + framed("\n");
}

void HttpAnswer::takes_long() {
  if (state_ == State::nothing && !head_only_)
    stream_.on_silence([this] { return blank_line(); }, stream_.limits().status_known);
}

asio::awaitable<void> HttpAnswer::begin(HttpReply reply, KeepAlive keep_alive) {
  if (state_ == State::nothing) {
    stream_.be_silent();  // of takes_long()
    state_ = head_only_ ? State::ended : State::streaming;
    std::string bytes = head(reply, /*sized=*/false);
    co_await stream_.send(std::move(bytes));
    if (head_only_) has_all_.request_stop();
  }
  if (state_ != State::streaming) co_return;
  auto again = [this, keep_alive = std::move(keep_alive)] {
    std::string bytes = keep_alive();
    return bytes.empty() ? bytes : framed(std::move(bytes));  // framed, nothing would be the end
  };
  stream_.on_silence(std::move(again), stream_.limits().keep_alive_every);
}

asio::awaitable<bool> HttpAnswer::write(std::string bytes) {
  if (state_ != State::streaming) co_return false;
  if (bytes.empty()) co_return true;  // framed, it would be the end
  std::string chunk = framed(std::move(bytes));
  co_return co_await stream_.send(std::move(chunk));
}

std::stop_token HttpAnswer::gone() const {
  return has_all_.stop_requested() ? has_all_.get_token() : stream_.gone();
}

asio::awaitable<void> HttpAnswer::end() {
  if (state_ != State::streaming) co_return;
  stream_.be_silent();
  state_ = State::ended;
  std::string last(kLastChunk);
  if (is_chunked()) co_await stream_.send(std::move(last));
}

}  // namespace lares::daemon
