#include "daemon/server/connection.h"

#include <algorithm>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/ended.h"
#include "daemon/mcp/door.h"
#include "daemon/read_aside.h"

namespace lares::daemon {
namespace {

using protocol::Code;
constexpr auto kUse = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kWatchEvery{5};
// Of a client that has more than kOutboxBytesMax to read: two lines may be that long, so one that
// reads has it, too, for a moment
constexpr std::chrono::seconds kFullSilenceMax{4};
constexpr std::size_t kOutboxBytesEver = 8 * protocol::kOutboxBytesMax;  // however it reads
constexpr const char* kDoesNotRead = "it does not read what it subscribed to";
constexpr std::chrono::seconds kLastWordsSilenceMax{5};  // of a client that is to read what is left

}  // namespace

Connection::Connection(Server& server, asio::thread_pool& aside, Listener::Protocol::socket socket)
    : server_(server),
      aside_(aside),
      socket_(std::move(socket)),
      something_to_write_(server.io()),
      room_(server.io()),
      written_(server.io()),
      answered_(server.io()),
      watchdog_(server.io()) {
  room_.open();
}

Connection::~Connection() = default;

asio::awaitable<void> Connection::run() {
  const auto self = shared_from_this();
  asio::co_spawn(
      server_.io(), [self] { return self->write_lines(); },
      logged(server_.log(), "writing to a client", [self](const std::string&) {
        self->close();
        self->write_ended_ = true;
        self->watchdog_.cancel();
        self->written_.open();
      }));
  asio::co_spawn(
      server_.io(), [self] { return self->watch(); }, logged(server_.log(), "watching a client"));
  try {
    co_await read_lines();
  } catch (const std::exception& e) {
    server_.log().event("client_failed", {{"why", e.what()}});
  }
  if (mcp_) mcp_->left();
  close();
  co_await written_.wait();
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;  // what is queued is still written
  boost::system::error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_receive, ignored);
  something_to_write_.open();
  room_.open();
  watchdog_.cancel();
  following_.clear();
  answered_.open();
}

// ---- in

asio::awaitable<void> Connection::read_lines() {
  std::string buffer;
  while (!closed_) {
    auto [ec, n] = co_await asio::async_read_until(
        socket_, asio::dynamic_buffer(buffer, protocol::kLineBytesMax), '\n', kUse);
    if (ec == asio::error::not_found) {
      refuse(nullptr, Code::invalid_request,
             fmt::format("a line is longer than {} bytes", protocol::kLineBytesMax));
      co_return;
    }
    if (ec == asio::error::eof) {
      auto answering = answer_the_rest();
      co_return co_await std::move(answering);
    }
    if (ec) co_return;
    auto taking = take_line(std::string_view(buffer).substr(0, n - 1));
    co_await std::move(taking);
    buffer.erase(0, n);
  }
}

asio::awaitable<void> Connection::take_line(std::string_view line) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) co_return;
  if (!mcp_ && !initialized_ && server_.mcp()) {
    const auto look = [line] { return is_mcp(line); };
    auto looking = aside_where_long(aside_, line.size(), look);
    const bool speaks_mcp = co_await std::move(looking);
    if (speaks_mcp && !closed_) speak_mcp();
  }
  if (mcp_) {
    const auto read_mcp = [this, line] { return mcp_->read(line); };
    auto reading = aside_where_long(aside_, line.size(), read_mcp);
    std::function<void()> take_mcp = co_await std::move(reading);
    if (!closed_) take_mcp();
  } else {
    const auto read_native = [this, line] { return read(line); };
    auto reading = aside_where_long(aside_, line.size(), read_native);
    RequestPtr request = co_await std::move(reading);
    if (!closed_) take(std::move(request));
  }
}

void Connection::speak_mcp() {
  const auto say = [weak = weak_from_this()](std::string answer) {
    if (const auto self = weak.lock()) self->send(std::move(answer));
  };
  const auto answered = [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->answered_.open();
  };
  mcp_ = server_.mcp()->stream(say, answered);
}

// A client that has said all it says may still read, as nc does behind a pipe: it has its answers,
// and what it follows, until it closes its end. That the kernel tells of Unix sockets: one that
// is only shut down for writing is at its end for us, one that is closed has hung up besides.
asio::awaitable<void> Connection::answer_the_rest() {
  if (mcp_) mcp_->falls_silent();
  const auto on_hang_up = [weak = weak_from_this()](const boost::system::error_code&) {
    const auto self = weak.lock();
    if (!self) return;
    self->left_ = true;
    self->answered_.open();
  };
  socket_.async_wait(Listener::Protocol::socket::wait_error, on_hang_up);
  while (!closed_ && !left_ && waits()) {
    answered_.close();
    co_await answered_.wait();
  }
}

bool Connection::waits() const {
  return n_outstanding_ > 0 || !following_.empty() || (mcp_ && mcp_->waits());
}

struct Connection::Request {
  protocol::Id id;
  tl::expected<protocol::Message, protocol::Error> message;
};

Connection::RequestPtr Connection::read(std::string_view line) const {
  const auto let_go = [&aside = aside_, bytes = line.size()](const Request* last) {
    let_go_aside(aside, bytes, std::unique_ptr<const Request>(last));
  };
  auto request = std::make_unique<Request>();
  request->message = protocol::parse_line(line, request->id);
  return RequestPtr(request.release(), let_go);
}

void Connection::take(RequestPtr request) {
  const auto& message = request->message;
  if (!message) {
    send(protocol::error_line(request->id, message.error()));
    return;
  }
  if (message->method.empty() || !message->id)
    return;  // answers and notifications: the daemon asks nothing and wants none
  if (message->method == protocol::Initialize::kMethod) return initialize(*message);
  if (!initialized_) {
    return refuse(*message->id, Code::invalid_request,
                  fmt::format("{}: the first request must be initialize", message->method));
  }
  if (n_outstanding_ >= protocol::kOutstandingMax) {
    protocol::Error error{
        .code = Code::overloaded,
        .message = fmt::format("more than {} requests are unanswered", protocol::kOutstandingMax)};
    error.retry_after_ms = 100;
    send(protocol::error_line(*message->id, error));
    return;
  }
  ++n_outstanding_;
  asio::co_spawn(
      server_.io(),
      [self = shared_from_this(), request]() mutable { return self->answer(std::move(request)); },
      logged(server_.log(), "an answer", [self = shared_from_this()](const std::string& why) {
        if (!why.empty()) self->evict("its request could not be answered");
      }));
}

void Connection::initialize(const protocol::Message& message) {
  const auto request = protocol::from_json<protocol::Initialize>(message.params);
  if (initialized_)
    return refuse(*message.id, Code::invalid_request, "initialize: this connection already is");
  if (!request) return refuse(*message.id, Code::invalid_params, "initialize: " + request.error());
  if (request->protocol != protocol::kVersion) {
    return refuse(
        *message.id, Code::invalid_params,
        fmt::format("initialize: this daemon speaks protocol {}, not {}", protocol::kVersion,
                    request->protocol),
        "use lares and laresd of the same version; `lares shutdown` ends the running one");
  }
  if (request->role != "control" && request->role != "observe") {
    return refuse(
        *message.id, Code::invalid_params,
        fmt::format("initialize: role must be control or observe, not {}", request->role));
  }
  role_ = request->role;
  initialized_ = true;
  send(protocol::result_line(*message.id, protocol::to_json(server_.greeting())));
  send(protocol::notification_line(server_.state()));
}

asio::awaitable<void> Connection::answer(RequestPtr request) {
  const protocol::Message& message = *request->message;
  Reply<protocol::Json> result = tl::unexpected(protocol::Error{});
  try {
    result = co_await server_.call(*this, message.method, message.params);
  } catch (const std::exception& e) {
    server_.log().event("request_failed", {{"method", message.method}, {"why", e.what()}});
    result = tl::unexpected(protocol::Error{
        .code = Code::internal, .message = fmt::format("{}: {}", message.method, e.what())});
  }
  --n_outstanding_;
  send(result ? protocol::result_line(*message.id, *result)
              : protocol::error_line(*message.id, result.error()));
  answered_.open();
}

void Connection::refuse(const protocol::Id& id, Code code, std::string message, std::string hint) {
  send(protocol::error_line(
      id, {.code = code, .message = std::move(message), .hint = std::move(hint)}));
}

// ---- out

void Connection::send(std::string line) {
  if (closed_) return;
  if (outbox_.empty()) wrote_ = std::chrono::steady_clock::now();
  outbox_bytes_ += line.size();
  if (outbox_bytes_ > kOutboxBytesEver && outbox_.size() > 1) return evict(kDoesNotRead);
  outbox_.push_back(std::move(line));
  if (outbox_bytes_ > protocol::kOutboxBytesMax / 2) room_.close();
  something_to_write_.open();
}

asio::awaitable<void> Connection::write_lines() {
  const auto self = shared_from_this();
  while (!closed_ || !outbox_.empty()) {
    if (outbox_.empty()) {
      something_to_write_.close();
      co_await something_to_write_.wait();
      continue;
    }
    auto writing = write(outbox_.front());
    const bool written = co_await std::move(writing);
    outbox_bytes_ -= outbox_.front().size();
    outbox_.pop_front();
    if (!written) break;
    if (outbox_bytes_ <= protocol::kOutboxBytesMax / 2 && !room_.is_open()) {
      room_.open();
      catch_up();
    }
  }
  boost::system::error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_both, ignored);
}

// By as much as the client takes: one that is slow with a long line does read.
asio::awaitable<bool> Connection::write(std::string_view line) {
  while (!line.empty()) {
    auto [ec, n] = co_await socket_.async_write_some(asio::buffer(line), kUse);
    if (ec) co_return false;
    line.remove_prefix(n);
    wrote_ = std::chrono::steady_clock::now();
  }
  co_return true;
}

// A client that reads nothing for kStuckMsMax while there is something to read, or for less while
// there is much.
asio::awaitable<void> Connection::watch() {
  const auto self = shared_from_this();
  while (!closed_) {
    watchdog_.expires_after(kWatchEvery);
    co_await watchdog_.async_wait(kUse);
    const auto silent = std::chrono::steady_clock::now() - wrote_;
    if (outbox_.empty())
      wrote_ = std::chrono::steady_clock::now();
    else if (silent > kFullSilenceMax && outbox_bytes_ > protocol::kOutboxBytesMax)
      evict(kDoesNotRead);
    else if (silent > std::chrono::milliseconds(protocol::kStuckMsMax))
      evict("it has read nothing for a minute");
  }
  co_await watch_last_words();
}

// What is left is written while it is read. A client that reads nothing of it keeps neither its
// place among the clients nor the memory.
asio::awaitable<void> Connection::watch_last_words() {
  while (!write_ended_) {
    const auto before = wrote_;
    watchdog_.expires_after(kLastWordsSilenceMax);
    co_await watchdog_.async_wait(kUse);
    if (write_ended_ || wrote_ != before) continue;
    boost::system::error_code ignored;
    socket_.close(ignored);
    co_return;
  }
}

void Connection::evict(const std::string& why) {
  if (closed_) return;
  server_.log().event("client_evicted", {{"why", why}});
  // The line being written stays whole; the rest the client would not read anyway.
  if (outbox_.size() > 1) outbox_.erase(outbox_.begin() + 1, outbox_.end());
  outbox_.push_back(protocol::notification_line(protocol::ConnectionEvicted{.why = why}));
  outbox_bytes_ = 0;
  for (const auto& line : outbox_) outbox_bytes_ += line.size();
  following_.clear();
  closed_ = true;
  answered_.open();
  boost::system::error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_receive, ignored);
  something_to_write_.open();
  room_.open();
  watchdog_.cancel();
}

// ---- subscriptions

void Connection::follow(std::shared_ptr<Session> session, std::int64_t after, bool interactive) {
  const std::string id = session->info().session_id;
  session->comes(this);
  const int generation = ++generations_;
  following_[id] = {.session = session, .interactive = interactive, .generation = generation};
  const std::int64_t from = after < 0 ? session->info().last_seq : after;
  asio::co_spawn(
      server_.io(),
      [self = shared_from_this(), id, from, generation] {
        return self->replay(id, from, generation);
      },
      logged(server_.log(), "replaying a session",
             [self = shared_from_this()](const std::string& why) {
               if (!why.empty()) self->evict("what it subscribed to cannot be read");
             }));
}

asio::awaitable<void> Connection::replay(std::string session_id, std::int64_t after,
                                         int generation) {
  const auto current = [&] {
    const auto it = following_.find(session_id);
    return it != following_.end() && it->second.generation == generation ? &it->second : nullptr;
  };
  co_await asio::post(server_.io(), asio::use_awaitable);  // the answer to the request goes first
  while (!closed_) {
    co_await room_.wait();
    Following* const following = current();
    if (!following) co_return;
    std::int64_t seq = after;
    const auto event = following->session->event_after(after, seq);
    after = seq;
    if (event) {
      const auto frame = protocol::Json::parse(*event, nullptr, /*allow_exceptions=*/false);
      if (frame.is_object())
        send(protocol::notification_line(frame["method"].get<std::string>(), frame["params"]));
      continue;
    }
    following->live = true;  // nothing can happen between the last read and this
    following->session->subscribe(this);
    co_return;
  }
}

void Connection::unfollow(const std::string& session_id) {
  const auto it = following_.find(session_id);
  if (it == following_.end()) return;
  const auto session = it->second.session;
  following_.erase(it);
  session->unsubscribe(this);
  answered_.open();
}

void Connection::notify(const std::string& session_id, const std::string& line, Weight weight) {
  const auto it = following_.find(session_id);
  if (it == following_.end()) return;
  if (weight == Weight::delta && outbox_bytes_ > protocol::kOutboxBytesMax / 2) {
    it->second.lost_deltas = true;
    return;
  }
  send(line);
}

void Connection::catch_up() {
  for (auto& [id, following] : following_) {
    if (!std::exchange(following.lost_deltas, false)) continue;
    for (auto& line : following.session->snapshots(true)) send(std::move(line));
  }
}

bool Connection::interactive(const std::string& session_id) const {
  const auto it = following_.find(session_id);
  return it != following_.end() && it->second.interactive;
}

}  // namespace lares::daemon
