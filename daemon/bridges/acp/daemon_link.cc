#include "daemon/bridges/acp/daemon_link.h"

#include <chrono>
#include <exception>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>

#include "daemon/client/reconnect.h"
#include "daemon/client/start.h"
#include "daemon/gate.h"
#include "daemon/on_disk_pool.h"
#include "daemon/version.h"

namespace lares::cli::acp {
namespace {

using asio::local::stream_protocol;
constexpr auto kUse = asio::as_tuple(asio::use_awaitable);
constexpr int kAttemptsMax = 5;  // to have one that is wanted

Fault lost_fault(std::string_view method) {
  return {
      .code = kInternal,
      .message = fmt::format(
          "{}: the connection to the daemon was lost before it answered; send it again", method),
      .lost = true};
}

Fault silent_fault(std::string_view method, std::chrono::milliseconds bound) {
  return {.code = kInternal,
          .message = fmt::format("{}: the daemon has not answered within {:g} s; it may still do "
                                 "it; `lares status` says more",
                                 method, std::chrono::duration<double>(bound).count())};
}

}  // namespace

struct DaemonLink::Connection {
  explicit Connection(asio::any_io_executor io) : socket(io) {}
  stream_protocol::socket socket;
  std::string inbox;
  std::deque<std::string> outbox;
};

struct DaemonLink::Pending {
  Pending(asio::any_io_executor io, std::string name) : gate(io), method(std::move(name)) {}
  daemon::Gate gate;
  std::string method;
  Reply<Json> reply;
};

DaemonLink::DaemonLink(asio::any_io_executor io, const DaemonAddress& address, Events events,
                       LinkBounds bounds)
    : io_(io),
      address_(address),
      events_(std::move(events)),
      bounds_(bounds),
      attempt_(std::make_shared<daemon::Gate>(io)),
      wake_(std::make_shared<daemon::Gate>(io)) {}

DaemonLink::~DaemonLink() = default;

asio::awaitable<void> DaemonLink::run() {
  for (;;) {
    auto connecting = connect();
    auto connected = co_await std::move(connecting);
    if (!connected && (n_waiting_ > 0 || events_.wanted())) {
      auto starting = start_daemon();
      connected = co_await std::move(starting);
      if (connected) {
        auto again = connect();
        connected = co_await std::move(again);
      }
    }
    if (connected) {
      co_await serve();
    } else {
      settle(std::move(connected));
    }
    co_await pause();
  }
}

asio::awaitable<void> DaemonLink::pause() {
  asio::steady_timer timer(io_, reconnect_pause(n_failed_));
  wake_ = std::make_shared<daemon::Gate>(io_);
  const auto wake = wake_;
  const auto late = [wake](const boost::system::error_code& ec) {
    if (!ec) wake->open();
  };
  timer.async_wait(late);
  co_await wake->wait();
}

asio::awaitable<Reply<>> DaemonLink::connect() {
  connection_ = std::make_shared<Connection>(io_);
  refused_ = false;
  const stream_protocol::endpoint there(address_.socket);
  const auto connection = connection_;
  const auto [ec] = co_await connection->socket.async_connect(there, kUse);
  if (ec)
    co_return tl::unexpected(
        Fault{kInternal, fmt::format("connect to the daemon at {}: {}; `lares status` says more",
                                     address_.socket, ec.message())});
  co_return Reply<>();
}

// With what the other commands start it with, which wait while they do.
asio::awaitable<Reply<>> DaemonLink::start_daemon() {
  starting_ = true;
  const auto start = [address = address_]() -> Result<bool> {
    Link link;
    const auto reached = reach(link, address, [](double) {});
    if (!reached) return tl::unexpected(reached.error());
    return reached->started;
  };
  auto starting = daemon::on_disk_pool(starter_, start);
  const auto started = co_await std::move(starting);
  starting_ = false;
  if (!started) co_return tl::unexpected(Fault{kInternal, started.error().message});
  co_return Reply<>();
}

// Until the connection is lost.
asio::awaitable<void> DaemonLink::serve() {
  const auto connection = connection_;
  const auto failed = [this, connection](std::exception_ptr thrown) {
    if (!thrown) return;
    boost::system::error_code ignored;
    connection->socket.close(ignored);  // out of memory: the loop below begins anew
  };
  asio::co_spawn(io_, establish(), failed);
  for (;;) {
    auto reading = asio::async_read_until(
        connection->socket, asio::dynamic_buffer(connection->inbox, protocol::kLineBytesMax), '\n',
        kUse);
    const auto [ec, n] = co_await std::move(reading);
    if (ec) break;
    take(std::string_view(connection->inbox).substr(0, n - 1));
    connection->inbox.erase(0, n);
    co_await events_.may_go_on();
  }
  lose();
}

asio::awaitable<void> DaemonLink::establish() {
  protocol::Initialize hello;
  hello.client = fmt::format("lares acp/{}", daemon::kVersion);
  auto greeting = call_now(std::move(hello));
  auto greeted = co_await std::move(greeting);
  if (!greeted) {
    if (greeted.error().lost) co_return;
    refused_ = true;
    settle(tl::unexpected(Fault{kInternal, fmt::format("greet the daemon at {}: {}",
                                                       address_.socket, greeted.error().message)}));
    boost::system::error_code ignored;
    connection_->socket.close(ignored);  // the next attempt may find another daemon there
    co_return;
  }
  co_await events_.up();
  if (connection_ && connection_->socket.is_open()) settle({});
}

void DaemonLink::settle(Reply<> attempt) {
  up_ = attempt.has_value();
  n_failed_ = up_ ? 0 : n_failed_ + 1;
  last_attempt_ = std::move(attempt);
  std::exchange(attempt_, std::make_shared<daemon::Gate>(io_))->open();
  if (!up_ && n_failed_ >= kAttemptsMax && events_.wanted()) events_.gave_up(last_attempt_.error());
}

void DaemonLink::lose() {
  boost::system::error_code ignored;
  connection_->socket.close(ignored);
  const bool was_up = std::exchange(up_, false);
  if (!was_up && !refused_ && ++n_failed_ >= kHangupsMax)
    settle(tl::unexpected(Fault{kInternal, hung_up_text(address_, n_failed_)}));
  for (auto& [id, pending] : std::exchange(pending_, {})) {
    pending->reply = tl::unexpected(lost_fault(pending->method));
    pending->gate.open();
  }
  if (was_up) events_.down();
}

void DaemonLink::take(std::string_view line) {
  protocol::Id id;
  auto message = protocol::parse_line(line, id);
  if (!message) return;  // of a later version; what is not understood is left out
  if (!message->id) return events_.notified(*message);
  if (!message->id->is_number_integer()) return;
  const auto it = pending_.find(message->id->get<std::int64_t>());
  if (it == pending_.end()) return;
  const auto pending = it->second;
  pending_.erase(it);
  if (message->error) {
    std::string text = message->error->message.empty() ? pending->method + ": the daemon refused"
                                                       : message->error->message;
    if (!message->error->hint.empty()) text += "; " + message->error->hint;
    pending->reply = tl::unexpected(Fault{static_cast<int>(message->error->code), std::move(text)});
  } else {
    pending->reply = std::move(message->result);
  }
  pending->gate.open();
}

void DaemonLink::write(std::string line) {
  const auto to = connection_;
  to->outbox.push_back(std::move(line));
  if (to->outbox.size() == 1) write_next(to);
}

void DaemonLink::write_next(const std::shared_ptr<Connection>& to) {
  const auto written = [this, to](const boost::system::error_code& ec, std::size_t) {
    if (ec) return;  // the read that is always in flight sees the same end
    to->outbox.pop_front();
    if (!to->outbox.empty()) write_next(to);
  };
  asio::async_write(to->socket, asio::buffer(to->outbox.front()), written);
}

std::chrono::milliseconds DaemonLink::bound_of(std::string_view method) const {
  if (method == protocol::Initialize::kMethod) return bounds_.greeting;
  return works_on_files(method) ? bounds_.long_answer : bounds_.answer;
}

asio::awaitable<Reply<Json>> DaemonLink::call_now(std::string method, Json params) {
  if (!connection_ || !connection_->socket.is_open()) co_return tl::unexpected(lost_fault(method));
  const std::int64_t id = ++last_id_;
  std::string line = protocol::request_line(Json(id), method, params);
  if (line.size() > protocol::kLineBytesMax)
    co_return tl::unexpected(Fault{
        kInvalidParams,
        fmt::format("{}: the request is {} bytes long, and the daemon takes {} at most; send less",
                    method, line.size(), protocol::kLineBytesMax)});
  const auto pending = std::make_shared<Pending>(io_, method);
  pending_[id] = pending;
  write(std::move(line));
  const auto bound = bound_of(method);
  asio::steady_timer timer(io_, bound);
  const auto late = [pending, bound](const boost::system::error_code& ec) {
    if (ec || pending->gate.is_open()) return;
    pending->reply = tl::unexpected(silent_fault(pending->method, bound));
    pending->gate.open();
  };
  timer.async_wait(late);
  co_await pending->gate.wait();
  timer.cancel();
  pending_.erase(id);
  co_return std::move(pending->reply);
}

asio::awaitable<Reply<>> DaemonLink::reachable() {
  if (up_) co_return Reply<>();
  const auto attempt = attempt_;
  ++n_waiting_;
  wake_->open();
  co_await attempt->wait();
  --n_waiting_;
  if (!up_ && last_attempt_)
    co_return tl::unexpected(lost_fault("reach the daemon"));  // it came and went
  co_return last_attempt_;
}

asio::awaitable<Reply<Json>> DaemonLink::call(std::string method, Json params) {
  auto reaching = reachable();
  const auto reached = co_await std::move(reaching);
  if (!reached)
    co_return tl::unexpected(Fault{reached.error().code,
                                   fmt::format("{}: {}", method, reached.error().message),
                                   reached.error().lost});
  auto calling = call_now(std::move(method), std::move(params));
  co_return co_await std::move(calling);
}

}  // namespace lares::cli::acp
