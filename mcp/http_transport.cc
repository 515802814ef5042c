#include "mcp/http_transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cctype>
#include <chrono>
#include <string_view>

#include "mcp/deadline.h"
#include "mcp/reading.h"

namespace lares::mcp {
namespace {

constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
constexpr int kNoticeTimeoutMs = 30'000;   // for what has no answer of its own to wait for
constexpr int kFarewellTimeoutMs = 2'000;  // for the end of the session
// Where the server names no time, and however long it names
constexpr int kRetryMs = 1'000, kRetryMaxMs = 60'000;
constexpr int kResumesMax = 100;  // of one answer
constexpr int kMovesMax = 3;      // of one message, to another path
constexpr std::size_t kErrorBodyBytesMax = 64 << 10;
constexpr std::size_t kErrorShownBytesMax = 200;
constexpr std::size_t kFlightsMax = 128;
constexpr std::size_t kSessionBytesMax = 1'024;

std::string media_type(const ResponseHead& head) {
  std::string type = head.at("Content-Type");
  type.resize(std::min(type.find(';'), type.size()));
  std::erase(type, ' ');
  std::ranges::transform(type, type.begin(), [](unsigned char c) { return std::tolower(c); });
  return type;
}

// Whether a refusal within a session may mean that the server lost it. Not all say so by 404: the
// TypeScript SDK's examples answer 400 "Bad Request: No valid session ID provided", the Rust SDK
// 401 "Unauthorized: Session not found".
bool may_have_lost_session(int status, std::string_view body) {
  constexpr std::string_view kWord = "session";
  const auto same = [](unsigned char a, unsigned char b) { return std::tolower(a) == b; };
  return (status == 400 || status == 401) &&
         std::search(body.begin(), body.end(), kWord.begin(), kWord.end(), same) != body.end();
}

asio::awaitable<void> pause(int ms) {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(ms));
  co_await timer.async_wait(kIo);
}

// Says that the session is over. Nobody waits for it.
asio::awaitable<void> say_farewell(asio::any_io_executor io, HttpRequest request) {
  auto saying = Exchange::begin(io, std::move(request));
  const auto said = co_await std::move(saying);
}

}  // namespace

HttpTransport::HttpTransport(asio::any_io_executor io, Url url, Headers headers,
                             const Limits& limits)
    : io_(io), url_(std::move(url)), headers_(std::move(headers)), limits_(limits) {}

HttpRequest HttpTransport::request(std::string method, std::string body,
                                   const Headers& more) const {
  HttpRequest made{std::move(method), url_, headers_, std::move(body)};
  const auto add = [&](const std::string& name, const std::string& value) {
    made.fields.emplace_back(name, value);
  };
  add("Accept", "application/json, text/event-stream");
  add("Accept-Encoding", "identity");
  add("User-Agent", "lares/" LARES_VERSION);
  if (made.method == "POST") add("Content-Type", "application/json");
  if (!version_.empty()) add("MCP-Protocol-Version", version_);
  if (!session_.empty()) add("Mcp-Session-Id", session_);
  for (const auto& [name, value] : more) add(name, value);
  return made;
}

void HttpTransport::send(Outgoing message) {
  if (ended_) return;
  // Answers to what the server asks: each has a connection of its own.
  if (!message.id && flights_.size() + held_.size() >= kFlightsMax)
    return end(fmt::format("asked for more than {} things at once, and was left", kFlightsMax));
  if (holding_)
    held_.push_back(std::move(message));
  else
    fly(std::move(message));
}

void HttpTransport::fly(Outgoing message) {
  const auto flight = std::make_shared<Flight>();
  const auto number = n_flights_++;
  flight->id = message.id;
  flights_[number] = flight;
  const bool first = message.first;
  holding_ = holding_ || first;
  const auto landed = [self = shared_from_this(), flight, number,
                       first](std::exception_ptr thrown) {
    self->flights_.erase(number);
    if (thrown) self->fail(flight, {Failure::died, "broke its connection"});
    if (!first || self->ended_) return;
    self->holding_ = false;
    for (auto& held : std::exchange(self->held_, {})) self->fly(std::move(held));
  };
  asio::co_spawn(io_, post(flight, std::move(message)),
                 asio::bind_cancellation_slot(flight->stop.slot(), landed));
}

asio::awaitable<void> HttpTransport::post(FlightPtr flight, Outgoing message) {
  const auto self = shared_from_this();
  std::optional<Deadline> deadline;  // a request's own is kept by whoever asked
  if (!flight->id)
    deadline.emplace(io_, kNoticeTimeoutMs,
                     [flight] { flight->stop.emit(asio::cancellation_type::terminal); });
  tl::expected<std::unique_ptr<Exchange>, std::string> response;
  for (int n_moves = 0; n_moves <= kMovesMax; ++n_moves) {
    auto beginning = Exchange::begin(io_, request("POST", message.line, message.headers));
    response = co_await std::move(beginning);
    if (!response) {
      fail(flight, {Failure::died, response.error()});
      co_return;
    }
    if (n_moves == kMovesMax || !moves((*response)->head())) break;
  }
  const auto& head = (*response)->head();
  if (head.status < 200 || head.status > 299) {
    co_await fail_by_status(flight, **response);
    co_return;
  }
  if (const auto session = head.at("Mcp-Session-Id");
      era_ == Era::legacy && session_.empty() && session.size() <= kSessionBytesMax)
    session_ = session;
  if (!flight->id) co_return;
  if (media_type(head) == "text/event-stream") {
    auto reading = read_stream(flight, std::move(*response));
    co_await std::move(reading);
  } else {
    co_await read_answer(flight, **response);
  }
}

// Many servers want "/mcp/" where "/mcp" is configured, or the other way round, and say so by
// redirecting. To another server nothing is sent that was meant for this one.
bool HttpTransport::moves(const ResponseHead& head) {
  if (head.status != 307 && head.status != 308) return false;
  std::string to = head.at("Location"), why;
  if (to.starts_with('/') && !to.starts_with("//"))
    to = (url_.tls ? "https://" : "http://") + url_.authority + to;
  auto url = parse_url(to, why);
  if (!url || url->tls != url_.tls || url->host != url_.host || url->port != url_.port)
    return false;
  url_ = std::move(*url);
  return true;
}

asio::awaitable<void> HttpTransport::read_answer(FlightPtr flight, Exchange& response) {
  const auto body = co_await read_body(response, limits_.line_bytes);
  if (!body) {
    fail(flight, {Failure::refused, body.error()});
    co_return;
  }
  auto reading = read_messages(limits_.threads, *body);
  auto messages = co_await std::move(reading);
  if (!messages) {
    fail(flight, {Failure::refused, messages.error()});
    co_return;
  }
  bool understood = false;
  for (auto& message : *messages) {
    understood |= message.kind != Message::garbage;
    receive(flight, std::move(message));
  }
  if (!understood)
    fail(flight, {Failure::refused,
                  fmt::format("answered with {} bytes that are no JSON-RPC (status {}, type {})",
                              body->size(), response.head().status, media_type(response.head()))});
  if (!flight->answered)
    fail(flight, {Failure::refused, "answered another request than the one it got"});
}

// A refusal may carry a JSON-RPC error, whose id need not be ours: it is the answer to this request
// all the same.
asio::awaitable<void> HttpTransport::fail_by_status(FlightPtr flight, Exchange& response) {
  const auto& head = response.head();
  const auto body = co_await read_body(response, kErrorBodyBytesMax);
  auto message = body ? parse_message(*body) : Message{};
  if (head.status == 404 && !session_.empty()) {
    const std::string why = "forgot the session";
    fail(flight, {Failure::expired, why, 0, 404, {}});
    end(why);
    co_return;
  }
  Failure failure{Failure::refused,
                  fmt::format("answered HTTP {} {}", head.status, head.reason),
                  0,
                  head.status,
                  {}};
  if (message.kind == Message::failure) {
    failure.why = message.error, failure.code = message.code,
    failure.data = std::move(message.data);
  } else if (head.status == 401 || head.status == 403) {
    failure.why +=
        "; give it credentials by \"headers\" in its configuration (a login by OAuth is not "
        "supported)";
  } else if (head.status >= 300 && head.status < 400) {
    failure.why += fmt::format("; it redirects to {}: configure that url", head.at("Location"));
  } else if ((head.status == 404 || head.status == 405) &&
             std::string_view(url_.target).substr(0, url_.target.find('?')).ends_with("/sse")) {
    failure.why +=
        "; such an url is mostly that of the transport of 2024: configure the server's Streamable "
        "HTTP url instead";
  } else if (body && !body->empty()) {
    failure.why += ": " + dumped(body->substr(0, kErrorShownBytesMax));
  }
  // A guess, so nothing else is ended by it, and the server's own words stay what is told should a
  // new session not help.
  if (!session_.empty() && body && failure.code != kUrlElicitationRequired &&
      may_have_lost_session(head.status, *body)) {
    failure.kind = Failure::expired;
    failure.why = fmt::format("answered HTTP {} {}: {}", head.status, head.reason,
                              message.kind == Message::failure
                                  ? message.error
                                  : dumped(body->substr(0, kErrorShownBytesMax)));
  }
  fail(flight, std::move(failure));
}

SseParser HttpTransport::parser(FlightPtr flight) {
  const auto on_event = [flight](const std::string& type, const std::string& data) {
    if (!data.empty() && (type.empty() || type == "message")) flight->events.push_back(data);
  };
  return SseParser(limits_.line_bytes, on_event);
}

// Those that are there. The fault of one is returned.
asio::awaitable<std::optional<std::string>> HttpTransport::receive_events(FlightPtr flight) {
  std::optional<std::string> fault;
  while (!flight->events.empty()) {
    const std::string data = std::move(flight->events.front());
    flight->events.pop_front();
    auto reading = read_messages(limits_.threads, data);
    auto messages = co_await std::move(reading);
    if (!messages) {
      fault = std::move(messages.error());
      co_return fault;
    }
    for (auto& message : *messages) receive(flight, std::move(message));
  }
  co_return fault;
}

// Until the answer, the end of the stream, or its fault, which is returned.
asio::awaitable<std::optional<std::string>> HttpTransport::read_events(FlightPtr flight,
                                                                       SseParser& events,
                                                                       Exchange& response) {
  std::optional<std::string> fault;
  while (!flight->answered && !ended_) {
    const auto part = co_await response.read();
    if (!part || part->empty()) break;  // whether broken or ended: what is missing may be resumed
    const bool fits = events.feed(*part);
    auto receiving = receive_events(flight);
    fault = co_await std::move(receiving);
    if (!fault && !fits)
      fault = fmt::format("sent an event longer than {} bytes", limits_.line_bytes);
    if (fault) break;
  }
  co_return fault;
}

asio::awaitable<void> HttpTransport::read_stream(FlightPtr flight,
                                                 std::unique_ptr<Exchange> response) {
  auto events = parser(flight);
  for (int n_resumes = 0;; ++n_resumes) {
    auto fault = co_await read_events(flight, events, *response);
    if (flight->answered || ended_) co_return;
    // Only the legacy era resumes, and only where the server gave its events ids.
    if (!fault && (era_ == Era::modern || events.last_id().empty() || n_resumes == kResumesMax))
      fault = "closed its stream before the answer";
    if (fault) {
      fail(flight, {Failure::died, *fault});
      co_return;
    }
    response.reset();
    auto resuming = resume(events);
    auto next = co_await std::move(resuming);
    if (!next) {
      fail(flight, std::move(next.error()));
      co_return;
    }
    response = std::move(*next);
  }
}

// Goes on after the last event that was had, when the server wants it.
asio::awaitable<tl::expected<std::unique_ptr<Exchange>, Failure>> HttpTransport::resume(
    SseParser& events) {
  events.restart();
  co_await pause(std::min(events.retry_ms().value_or(kRetryMs), kRetryMaxMs));
  Headers headers;
  if (!events.last_id().empty()) headers.emplace_back("Last-Event-ID", events.last_id());
  auto beginning = Exchange::begin(io_, request("GET", "", headers));
  auto response = co_await std::move(beginning);
  tl::expected<std::unique_ptr<Exchange>, Failure> resumed;
  if (!response)
    resumed = tl::unexpected(Failure{Failure::died, response.error()});
  else if ((*response)->head().status != 200 ||
           media_type((*response)->head()) != "text/event-stream")
    resumed = tl::unexpected(Failure{
        Failure::died, fmt::format("closed its stream, and answered HTTP {} when asked to go on",
                                   (*response)->head().status)});
  else
    resumed = std::move(*response);
  co_return resumed;
}

void HttpTransport::listen() {
  if (ended_ || era_ != Era::legacy) return;
  const auto flight = std::make_shared<Flight>();
  const auto number = n_flights_++;
  flights_[number] = flight;
  const auto landed = [self = shared_from_this(), flight, number](std::exception_ptr) {
    self->flights_.erase(number);
  };
  asio::co_spawn(io_, listen_loop(flight),
                 asio::bind_cancellation_slot(flight->stop.slot(), landed));
}

// What the server sends unasked. A server may do without: 405.
asio::awaitable<void> HttpTransport::listen_loop(FlightPtr flight) {
  const auto self = shared_from_this();
  auto events = parser(flight);
  for (int backoff_ms = kRetryMs; !ended_; backoff_ms = std::min(2 * backoff_ms, kRetryMaxMs)) {
    Headers headers;
    if (!events.last_id().empty()) headers.emplace_back("Last-Event-ID", events.last_id());
    auto beginning = Exchange::begin(io_, request("GET", "", headers));
    auto response = co_await std::move(beginning);
    if (response) {
      const auto status = (*response)->head().status;
      if (status >= 400 && status < 500) co_return;
      if (status == 200 && media_type((*response)->head()) == "text/event-stream") {
        backoff_ms = kRetryMs;
        auto reading = read_events(flight, events, **response);
        const auto fault = co_await std::move(reading);
        if (fault) co_return;
        events.restart();
      }
    }
    co_await pause(std::max(backoff_ms, std::min(events.retry_ms().value_or(0), kRetryMaxMs)));
  }
}

void HttpTransport::receive(const FlightPtr& flight, Message message) {
  if (ended_ || message.kind == Message::garbage) return;
  if (flight->id && (message.kind == Message::reply || message.kind == Message::failure))
    flight->answered |= message.id == *flight->id;
  if (events_.message) events_.message(std::move(message));
}

void HttpTransport::fail(const FlightPtr& flight, Failure failure) {
  if (ended_ || !flight->id || std::exchange(flight->answered, true)) return;
  if (events_.failed) events_.failed(*flight->id, std::move(failure));
}

// On the executor: from elsewhere the signal is passed on to it by address
// (boost/asio/impl/co_spawn.hpp), and the flight may land before.
void HttpTransport::cancel(const FlightPtr& flight) {
  asio::dispatch(io_, [flight] { flight->stop.emit(asio::cancellation_type::terminal); });
}

bool HttpTransport::abandon(std::int64_t id) {
  for (const auto& [number, flight] : flights_) {
    if (flight->id != id) continue;
    flight->answered = true;
    cancel(flight);
    break;
  }
  std::erase_if(held_, [id](const Outgoing& held) { return held.id == id; });
  return era_ == Era::modern;
}

void HttpTransport::close(const std::string& why) {
  if (ended_) return;
  if (!session_.empty()) {
    const auto stop = std::make_shared<asio::cancellation_signal>();
    const auto deadline = std::make_shared<Deadline>(
        io_, kFarewellTimeoutMs, [stop] { stop->emit(asio::cancellation_type::terminal); });
    const auto said = [stop, deadline](std::exception_ptr) { deadline->stop(); };
    asio::co_spawn(io_, say_farewell(io_, request("DELETE", "", {})),
                   asio::bind_cancellation_slot(stop->slot(), said));
  }
  end(why);
}

void HttpTransport::end(const std::string& why) {
  if (std::exchange(ended_, true)) return;
  why_ended_ = why;
  held_.clear();
  for (const auto& [number, flight] : flights_) cancel(flight);
  if (events_.ended) events_.ended(why_ended_);
}

}  // namespace lares::mcp
