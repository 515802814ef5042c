#include "mcp/http_exchange.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include "mcp/http_link.h"

namespace lares::mcp {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using std::string_view;
using View = beast::string_view;
template <class T>
using Result = tl::expected<T, std::string>;

constexpr std::size_t kReadBytes = 16 << 10;

std::string head_of(const HttpRequest& request) {
  std::string head = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
                                 request.method, request.url.target, request.url.authority);
  for (const auto& [name, value] : request.fields) head += fmt::format("{}: {}\r\n", name, value);
  if (request.method == "POST") head += fmt::format("Content-Length: {}\r\n", request.body.size());
  return head + "\r\n";
}

// Keeps what Beast's parser finds: the head, and the body as far as it was not taken yet.
class Reader final : public http::basic_parser<false> {
 public:
  Reader() {
    eager(true);
    header_limit(kResponseHeadBytesMax);
    // a stream has no end; what is kept of it is bounded by whoever reads it
    body_limit(boost::none);
  }
  ResponseHead head;
  std::string body;

 private:
  void on_request_impl(http::verb, View, View, int, error_code&) override {}
  void on_response_impl(int code, View reason, int, error_code&) override {
    head.status = code, head.reason = std::string(reason);
  }
  void on_field_impl(http::field, View name, View value, error_code&) override {
    head.fields.emplace_back(name, value);
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(View text, error_code&) override {
    return body.append(text.data(), text.size()), text.size();
  }
  void on_chunk_header_impl(std::uint64_t, View, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, View text, error_code&) override {
    return body.append(text.data(), text.size()), text.size();
  }
  void on_finish_impl(error_code&) override {}
};

class Response final : public Exchange {
 public:
  explicit Response(std::unique_ptr<Link> link)
      : link_(std::move(link)), reader_(std::make_unique<Reader>()) {}

  const ResponseHead& head() const override { return reader_->head; }
  Link& link() { return *link_; }

  asio::awaitable<Result<void>> read_head() {
    Result<void> done;
    for (;;) {
      while (!reader_->is_header_done() && !over_) {
        done = co_await more();
        if (!done) co_return done;
      }
      if (!reader_->is_header_done()) {
        done = tl::unexpected(std::string("closed the connection without an answer"));
        co_return done;
      }
      if (reader_->head.status >= 200) co_return done;
      reader_ = std::make_unique<Reader>();  // 1xx: the response proper follows
      done = parse();
      if (!done) co_return done;
    }
  }

  asio::awaitable<Result<std::string>> read() override {
    while (reader_->body.empty() && !reader_->is_done()) {
      auto got = co_await more();
      if (!got) {
        Result<std::string> failed = tl::unexpected(std::move(got.error()));
        co_return failed;
      }
    }
    Result<std::string> body = std::exchange(reader_->body, "");
    co_return body;
  }

 private:
  asio::awaitable<Result<void>> more() {
    std::array<char, kReadBytes> chunk;
    Result<void> done;
    const auto n = co_await link_->read(chunk);
    if (!n) {
      done = tl::unexpected("broke the connection: " + n.error());
      co_return done;
    }
    over_ = *n == 0;
    unread_.append(chunk.data(), *n);
    done = parse();
    co_return done;
  }

  // Gives the parser what it can use; a head that is not whole yet stays in `unread_`.
  Result<void> parse() {
    error_code ec;
    while (!unread_.empty() && !reader_->is_done()) {
      const auto n = reader_->put(asio::buffer(unread_), ec);
      unread_.erase(0, n);
      if (ec || n == 0) break;
    }
    if (unread_.size() > kResponseHeadBytesMax + kReadBytes)
      return tl::unexpected(std::string("sent a chunk's head that does not end"));
    if (ec == http::error::need_more) ec = {};
    if (!ec && over_ && !reader_->is_done() && reader_->got_some()) reader_->put_eof(ec);
    if (ec) return tl::unexpected("sent what is no HTTP response: " + ec.message());
    return {};
  }

  std::unique_ptr<Link> link_;
  std::unique_ptr<Reader> reader_;  // in its place: it cannot be assigned
  std::string unread_;
  bool over_ = false;
};

}  // namespace

std::string ResponseHead::at(string_view name) const {
  for (const auto& [field, value] : fields) {
    if (beast::iequals(View(field), View(name.data(), name.size()))) return value;
  }
  return "";
}

asio::awaitable<Result<std::unique_ptr<Exchange>>> Exchange::begin(asio::any_io_executor io,
                                                                   HttpRequest request) {
  Result<std::unique_ptr<Exchange>> begun;
  auto dialing = dial(io, request.url);
  auto link = co_await std::move(dialing);
  if (!link) {
    begun = tl::unexpected(fmt::format("could not be reached: connect to {}: {}",
                                       request.url.authority, link.error()));
    co_return begun;
  }
  auto response = std::make_unique<Response>(std::move(*link));
  auto& wire = response->link();
  const std::string bytes = head_of(request) + request.body;
  auto sent = co_await wire.write(bytes);
  // A server that refuses a long body may answer and close before it has read it.
  auto answered = co_await response->read_head();
  if (!answered)
    begun = tl::unexpected(sent ? answered.error() : "broke the connection: " + sent.error());
  else
    begun = std::move(response);
  co_return begun;
}

asio::awaitable<Result<std::string>> read_body(Exchange& exchange, std::size_t n_max) {
  Result<std::string> body;
  for (;;) {
    auto part = co_await exchange.read();
    if (!part) co_return part;
    if (part->empty()) co_return body;
    *body += *part;
    if (body->size() > n_max) {
      body = tl::unexpected(fmt::format("sent an answer longer than {} bytes", n_max));
      co_return body;
    }
  }
}

}  // namespace lares::mcp
