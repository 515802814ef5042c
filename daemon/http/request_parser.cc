#include "daemon/http/request_parser.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include <boost/beast/http/parser.hpp>
#include <boost/optional/optional.hpp>
#include <fmt/format.h>

#include "daemon/utf8.h"

namespace lares::daemon {
namespace {

namespace http = boost::beast::http;
using boost::beast::iequals;

// Grows as bytes come: Beast's own string_body reserves what the header promises.
struct GrowingBody {
  using value_type = std::string;
  class reader {
   public:
    template <bool is_request, class Fields>
    reader(http::header<is_request, Fields>&, std::string& body) : body_(body) {}
    void init(const boost::optional<std::uint64_t>&, boost::system::error_code& ec) { ec = {}; }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, boost::system::error_code& ec) {
      ec = {};
      std::size_t n = 0;
      for (auto at = asio::buffer_sequence_begin(buffers); at != asio::buffer_sequence_end(buffers);
           ++at) {
        const asio::const_buffer part = *at;
        body_.append(static_cast<const char*>(part.data()), part.size());
        n += part.size();
      }
      return n;
    }
    void finish(boost::system::error_code& ec) { ec = {}; }

   private:
    std::string& body_;
  };
};

tl::unexpected<HttpRefusal> refused(unsigned status, std::string message) {
  return tl::unexpected(HttpRefusal{status, std::move(message)});
}

HttpRefusal refusal_of(const boost::system::error_code& ec, const HttpLimits& limits) {
  if (ec == http::error::header_limit || ec == http::error::buffer_overflow)
    return {431, fmt::format("read the request: its line and headers are longer than {} bytes",
                             limits.header_bytes)};
  if (ec == http::error::body_limit)
    return {413,
            fmt::format("read the request: its body is longer than {} bytes", limits.body_bytes)};
  if (ec == http::error::bad_version)
    return {505, "read the request: only HTTP/1.1 and HTTP/1.0 are spoken here"};
  return {400, fmt::format("read the request: it is no HTTP/1.1: {}", ec.message())};
}

// "/path" out of "/path" or, as proxies are asked, "http://authority/path".
struct Target {
  std::string_view path, query;
  std::optional<std::string_view> authority;
};
std::optional<Target> parse_target(std::string_view text) {
  Target target;
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; }))
    return std::nullopt;
  if (const auto scheme = text.find("://");
      scheme != std::string_view::npos &&
      (text.starts_with("http:") || text.starts_with("https:"))) {
    text.remove_prefix(scheme + 3);
    const auto end = std::min(text.find_first_of("/?"), text.size());
    target.authority = text.substr(0, end);
    text.remove_prefix(end);
    if (!text.starts_with('/')) return std::nullopt;
  }
  if (!text.starts_with('/') && text != "*") return std::nullopt;
  const auto question = std::min(text.find('?'), text.size());
  target.path = text.substr(0, question);
  target.query = text.substr(std::min(question + 1, text.size()));
  return target;
}

}  // namespace

struct HttpRequestParser::Beast {
  http::request_parser<GrowingBody> parser;
};

HttpRequestParser::HttpRequestParser(const HttpLimits& limits)
    : beast_(std::make_unique<Beast>()), limits_(limits) {
  // Beast's depends on where the bytes are cut; put() counts
  beast_->parser.header_limit(std::numeric_limits<std::uint32_t>::max());
  beast_->parser.body_limit(limits.body_bytes);
}

HttpRequestParser::~HttpRequestParser() = default;

bool HttpRequestParser::has_begun() const { return begun_; }
bool HttpRequestParser::has_head() const { return beast_->parser.is_header_done(); }
bool HttpRequestParser::is_done() const { return beast_->parser.is_done(); }
std::size_t HttpRequestParser::body_bytes() const { return beast_->parser.get().body().size(); }

tl::expected<std::size_t, HttpRefusal> HttpRequestParser::put(std::string_view bytes) {
  std::size_t taken = 0;
  // Empty lines between requests mean nothing
  if (!begun_) taken = std::min(bytes.find_first_not_of("\r\n"), bytes.size());
  if (taken == bytes.size() || is_done()) return taken;
  begun_ = true;
  const bool had_head = has_head();
  const std::size_t n_blank = taken;
  boost::system::error_code ec;
  taken += beast_->parser.put(asio::buffer(bytes.data() + taken, bytes.size() - taken), ec);
  if (ec && ec != http::error::need_more) return tl::unexpected(refusal_of(ec, limits_));
  if (!had_head) {
    head_bytes_ += taken - n_blank;
    // Of one that is not whole, what is not taken yet is part and more is to come.
    const bool too_long = has_head() ? head_bytes_ > limits_.header_bytes
                                     : head_bytes_ + (bytes.size() - taken) >= limits_.header_bytes;
    if (too_long) return tl::unexpected(refusal_of(http::error::header_limit, limits_));
  }
  if (!had_head && has_head()) {
    if (auto read = head_read(); !read) return tl::unexpected(std::move(read.error()));
  }
  return taken;
}

tl::expected<void, HttpRefusal> HttpRequestParser::head_read() {
  const auto& head = beast_->parser.get();
  http_10_ = head.version() == 10;
  keeps_alive_ = head.keep_alive();
  const std::string_view text(head.target().data(), head.target().size());
  const auto target = parse_target(text);
  if (!target)
    return refused(
        400, "read the request: what it asks for must be a path that begins with / and is ASCII");
  request_.method = std::string(head.method_string());
  request_.path = std::string(target->path), request_.query = std::string(target->query);
  int n_hosts = 0;
  for (const auto& field : head) {
    std::string name(field.name_string()), value(field.value());
    std::transform(name.begin(), name.end(), name.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    // RFC 9110 5.5: bytes beyond ASCII are opaque, and no reason to refuse; some programs send
    // Latin-1 there. With U+FFFD in their place a value equals no token, host or origin.
    value = valid_utf8(value);
    if (name == "host" && target->authority) value = *target->authority;
    n_hosts += name == "host";
    request_.headers.emplace_back(std::move(name), std::move(value));
  }
  if (n_hosts > 1 || (n_hosts == 0 && !http_10_))
    return refused(
        400, fmt::format("read the request: it must have one Host header, and has {}", n_hosts));
  if (n_hosts == 0 && target->authority) request_.headers.emplace_back("host", *target->authority);
  if (const auto coding = request_.header("transfer-encoding");
      !coding.empty() && (!iequals(coding, "chunked") || http_10_))
    return refused(501, "read the request: Transfer-Encoding must be chunked, or absent");
  if (const auto coding = request_.header("content-encoding");
      !coding.empty() && !iequals(coding, "identity"))
    return refused(
        415, "read the request: bodies are taken as they are; send it without Content-Encoding");
  if (const auto expected = request_.header("expect"); !expected.empty()) {
    if (!iequals(expected, "100-continue"))
      return refused(417, "read the request: of Expect, only 100-continue is known");
    expects_continue_ = !http_10_ && !is_done();
  }
  beast_->parser.eager(true);
  return {};
}

HttpRequest HttpRequestParser::take_request() {
  request_.body = std::move(beast_->parser.get().body());
  return std::move(request_);
}

}  // namespace lares::daemon
