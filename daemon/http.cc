#include "daemon/http.h"

#include <array>
#include <chrono>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

namespace lares::daemon {
namespace {

namespace http = boost::beast::http;
constexpr std::size_t kRequestBytesMax = 64 << 10;

}  // namespace

bool is_http(std::string_view first_line) {
  for (const std::string_view verb : {"GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "PATCH "}) {
    if (first_line.starts_with(verb)) return true;
  }
  return false;
}

asio::awaitable<void> answer_http(Listener::Protocol::socket& socket, std::string received, std::function<std::string()> health) {
  boost::beast::flat_buffer buffer(kRequestBytesMax);
  if (received.size() > kRequestBytesMax) co_return;
  buffer.commit(asio::buffer_copy(buffer.prepare(received.size()), asio::buffer(received)));
  http::request_parser<http::string_body> parser;
  parser.body_limit(kRequestBytesMax);
  auto [ec, n] = co_await http::async_read(socket, buffer, parser, asio::as_tuple(asio::use_awaitable));
  if (ec) co_return;
  const auto& request = parser.get();
  http::response<http::string_body> response{http::status::ok, request.version()};
  response.set(http::field::content_type, "application/json");
  response.keep_alive(false);
  if (request.target() != "/health") {
    response.result(http::status::not_found);
    response.body() = R"({"error": {"message": "only /health is served here"}})";
  } else if (request.method() != http::verb::get && request.method() != http::verb::head) {
    response.result(http::status::method_not_allowed);
  } else {
    response.body() = health();
  }
  if (request.method() == http::verb::head) response.body().clear();
  response.prepare_payload();
  co_await http::async_write(socket, response, asio::as_tuple(asio::use_awaitable));
}

}  // namespace lares::daemon
