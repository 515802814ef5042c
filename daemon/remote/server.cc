#include "daemon/remote/server.h"

#include <exception>
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/remote/foreign.h"
#include "daemon/remote/remote.h"

namespace lares::daemon {
namespace {

using Clock = std::chrono::steady_clock;
using engine::Errc;
using engine::Error;
using engine::Result;

constexpr std::chrono::milliseconds kLookEvery{20};  // whether somebody said stop
constexpr std::size_t kRefusalBytesMax = 64 << 10;

Error cancelled(std::string_view what) {
  return {Errc::cancelled, fmt::format("{}: stopped", what)};
}

// Runs `work` on `io` here and now. What is given up is cancelled and waited for, which takes as
// long as looking up a name does at most.
template <class T>
Result<T> wait_for(asio::io_context& io, asio::awaitable<tl::expected<T, std::string>> work,
                   std::string_view what, const std::string& server, const std::stop_token& stop,
                   std::chrono::milliseconds silence_max) {
  asio::cancellation_signal end;
  std::optional<tl::expected<T, std::string>> result;
  std::exception_ptr thrown;
  bool over = false;
  auto token = asio::bind_cancellation_slot(
      end.slot(), [&](std::exception_ptr e, tl::expected<T, std::string> r) {
        thrown = e, result = std::move(r), over = true;
      });
  asio::co_spawn(io, std::move(work), std::move(token));
  const auto until = Clock::now() + silence_max;
  bool stopped = false, silent = false;
  for (io.restart(); !over; io.run_one_for(kLookEvery)) {
    if (stopped || silent) continue;
    stopped = stop.stop_requested(), silent = Clock::now() >= until;
    if (stopped || silent) end.emit(asio::cancellation_type::terminal);
  }
  if (stopped) return tl::unexpected(cancelled(what));
  if (silent)
    return tl::unexpected(
        Error{Errc::not_found, fmt::format("{}: {} said nothing for {} s; see how it is there, "
                                           "then ask again",
                                           what, server, silence_max.count() / 1000)});
  if (thrown) {
    std::string why = "something was thrown";
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      why = e.what();
    } catch (...) {
    }
    return tl::unexpected(Error{Errc::no_memory, fmt::format("{}: {}", what, why)});
  }
  if (!*result)
    return tl::unexpected(
        Error{Errc::not_found, fmt::format("{}: {} {}", what, server, result->error())});
  return std::move(**result);
}

// Of a body that says why something was refused: OpenAI's form, vLLM's older one, FastAPI's, or
// whatever it is.
std::string reason_in(const std::string& body) {
  const auto json = foreign_json(body);
  if (!json.is_object()) return words_of_server(body);
  const auto error = json.find("error");
  const auto& from = error != json.end() && error->is_object() ? *error : json;
  for (const char* const key : {"message", "detail", "error"})
    if (const auto text = from.find(key); text != from.end() && text->is_string())
      return words_of_server(text->get_ref<const std::string&>());
  return words_of_server(body);
}

// No room, no worker, or a proxy that cannot reach it just now.
bool passes(int status) { return status == 429 || status == 502 || status == 503 || status == 504; }

}  // namespace

RemoteStream::RemoteStream(const RemoteServer& server)
    : server_(server),
      parser_(kRemoteEventBytesMax,
              [this](const std::string&, const std::string& data) { events_.push_back(data); }) {}

Result<std::optional<std::string>> RemoteStream::next(const std::stop_token& stop,
                                                      std::chrono::milliseconds silence_max) {
  constexpr std::string_view kWhat = "draw a token";
  for (const auto until = Clock::now() + kEventMax; events_.empty();) {
    if (Clock::now() >= until)
      return tl::unexpected(
          Error{Errc::not_found, fmt::format("{}: {} only kept the connection for {} minutes",
                                             kWhat, server_.name(), kEventMax.count())});
    const auto bytes = wait_for(io_, exchange_->read(), kWhat, server_.name(), stop, silence_max);
    if (!bytes) return tl::unexpected(bytes.error());
    if (bytes->empty()) return std::nullopt;
    if (!parser_.feed(*bytes))
      return tl::unexpected(
          Error{Errc::malformed, fmt::format("{}: {} sent an event of more than {} bytes", kWhat,
                                             server_.name(), kRemoteEventBytesMax)});
  }
  auto event = std::move(events_.front());
  events_.pop_front();
  return event;
}

Result<std::unique_ptr<RemoteServer>> RemoteServer::at(const std::string& url, std::string key,
                                                       std::chrono::milliseconds silence_max,
                                                       std::chrono::milliseconds retry_after) {
  std::string why;
  auto parsed = mcp::parse_url(url, why);
  if (parsed && parsed->target.find('?') != std::string::npos) {
    parsed.reset();
    why = "has a query";
  }
  if (!parsed)
    return tl::unexpected(
        Error{Errc::bad_argument,
              fmt::format("use the remote engine: its address {}; it must be one such as "
                          "http://127.0.0.1:8000",  // the address itself may hold a password
                          why)});
  std::unique_ptr<RemoteServer> server(new RemoteServer);
  server->url_ = std::move(*parsed);
  server->base_ = server->url_.target;
  while (server->base_.ends_with('/')) server->base_.pop_back();
  if (server->base_.ends_with("/v1")) server->base_.resize(server->base_.size() - 3);
  server->key_ = std::move(key);
  server->silence_max_ = silence_max, server->retry_after_ = retry_after;
  return server;
}

bool RemoteServer::wait_before(int next_try, const std::stop_token& stop) const {
  asio::io_context io(1);
  asio::steady_timer timer(io, retry_after_ * (1 << (next_try - 1)));
  bool over = false;
  timer.async_wait([&](boost::system::error_code) { over = true; });
  while (!over && !stop.stop_requested()) io.run_one_for(kLookEvery);
  return over;
}

// A stream whose head has come and is 200.
Result<std::unique_ptr<RemoteStream>> RemoteServer::begin(std::string_view what,
                                                          const std::string& method,
                                                          const std::string& path,
                                                          const std::string& body,
                                                          const std::stop_token& stop) const {
  for (int tried = 1;; ++tried) {
    const auto began = Clock::now();
    std::unique_ptr<RemoteStream> stream(new RemoteStream(*this));
    mcp::HttpRequest request{.method = method, .url = url_, .fields = {}, .body = body};
    request.url.target = base_ + path;
    request.fields.emplace_back("Accept", "text/event-stream, application/json");
    if (!body.empty()) request.fields.emplace_back("Content-Type", "application/json");
    if (!key_.empty()) request.fields.emplace_back("Authorization", "Bearer " + key_);
    auto begun = wait_for(stream->io_,
                          mcp::Exchange::begin(stream->io_.get_executor(), std::move(request)),
                          what, name(), stop, silence_max_);
    Error error;
    bool again = true;
    if (!begun) {
      error = std::move(begun.error());
      again = error.code != Errc::cancelled && Clock::now() - began < silence_max_;
    } else {
      stream->exchange_ = std::move(*begun);
      const auto& head = stream->exchange_->head();
      if (head.status == 200) return stream;
      const auto words = wait_for(stream->io_, mcp::read_body(*stream->exchange_, kRefusalBytesMax),
                                  what, name(), stop, silence_max_);
      again = passes(head.status);
      error = {again                ? Errc::not_found
               : head.status == 404 ? Errc::unsupported
                                    : Errc::bad_argument,
               fmt::format("{}: {} refused it with {} {}: {}", what, name(), head.status,
                           words_of_server(head.reason), words ? reason_in(*words) : "")};
      if (head.status == 401 || head.status == 403)
        error.message +=
            "; the token that it asks for belongs into the file remote-key beside Lares's "
            "config.json";
    }
    if (!again) return tl::unexpected(std::move(error));
    if (tried == kRemoteTries) {
      error.message += fmt::format(
          "; tried {} times; see that it runs there and is reached, then ask again", tried);
      return tl::unexpected(std::move(error));
    }
    if (!wait_before(tried, stop)) return tl::unexpected(cancelled(what));
  }
}

Result<std::unique_ptr<RemoteStream>> RemoteServer::stream(std::string_view what,
                                                           const std::string& path,
                                                           const std::string& body,
                                                           const std::stop_token& stop) const {
  return begin(what, "POST", path, body, stop);
}

Result<RemoteServer::Json> RemoteServer::ask(std::string_view what, const std::string& method,
                                             const std::string& path, const std::string& body,
                                             const std::stop_token& stop) const {
  auto stream = begin(what, method, path, body, stop);
  if (!stream) return tl::unexpected(std::move(stream.error()));
  const auto text = wait_for((*stream)->io_,
                             mcp::read_body(*(*stream)->exchange_, kRemoteAnswerBytesMax), what,
                             name(), stop, silence_max_);
  if (!text) return tl::unexpected(text.error());
  auto json = foreign_json(*text);
  if (!json.is_object())
    return tl::unexpected(Error{
        Errc::malformed, fmt::format("{}: {} answered with something that is no JSON object: {}",
                                     what, name(), words_of_server(*text))});
  return json;
}

}  // namespace lares::daemon
