#include "mcp/connection.h"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>

#include "mcp/message.h"

namespace lares::mcp {
namespace {

constexpr auto kIo = asio::as_tuple(asio::use_awaitable);  // errors come back as values
constexpr std::size_t kStderrBytesMax = 4 << 10;           // of its end
constexpr std::size_t kLastWordsBytesMax = 600;
constexpr auto kExitWait =
    std::chrono::milliseconds(500);  // from the end of its output to its own end

// The end of what it wrote, as UTF-8 that may be printed.
std::string printable_tail(std::string_view text, std::size_t n_max) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  if (text.size() > n_max) text.remove_prefix(text.size() - n_max);
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    out += u >= 0x80 || (u < 0x20 && c != '\n') ? '?' : c;
  }
  return out;
}

}  // namespace

Connection::Connection(asio::any_io_executor io, Child child, const Limits& limits)
    : io_(io),
      limits_(limits),
      pid_(child.pid),
      in_(io, child.in),
      out_(io, child.out),
      err_(io, child.err),
      exit_(io, child.pidfd) {}

Connection::~Connection() { close("is no longer needed", 0); }

void Connection::start() {
  // Both loops hold the connection; the handler has nothing to report, they catch nothing because
  // nothing in them throws.
  const auto log_nothing = [self = shared_from_this()](std::exception_ptr thrown) {
    if (thrown) self->end_because("broke its connection");
  };
  asio::co_spawn(io_, read_loop(), log_nothing);
  asio::co_spawn(io_, stderr_loop(), log_nothing);
}

asio::awaitable<Reply<nlohmann::json>> Connection::request(std::string method,
                                                           nlohmann::json params, int timeout_ms) {
  const auto self = shared_from_this();
  if (ended_) {
    Reply<nlohmann::json> gone = tl::unexpected(Failure{Failure::died, why_ended_});
    co_return gone;
  }
  const auto id = next_id_++;
  const auto pending = std::make_shared<Pending>(io_);
  pending_[id] = pending;
  pending->wake.expires_after(std::chrono::milliseconds(timeout_ms));
  send(request_line(id, method, std::move(params)));
  if (!pending->reply) {
    auto [ec] = co_await pending->wake.async_wait(kIo);
    if (!pending->reply) {  // nobody answered: the time is over, or the caller was cancelled
      pending_.erase(id);
      const bool timed_out = !ec;
      if (method != "initialize") {
        nlohmann::json about{{"requestId", id}, {"reason", timed_out ? "timeout" : "cancelled"}};
        notify("notifications/cancelled", std::move(about));
      }
      Failure failure{Failure::cancelled, "cancelled"};
      if (timed_out)
        failure = {Failure::timed_out,
                   fmt::format("did not answer {} within {} s", method, timeout_ms / 1000.0)};
      Reply<nlohmann::json> none = tl::unexpected(std::move(failure));
      co_return none;
    }
  }
  auto reply = std::move(*pending->reply);
  co_return reply;
}

void Connection::notify(std::string_view method, nlohmann::json params) {
  send(notification_line(method, std::move(params)));
}

void Connection::send(std::string line) {
  if (ended_) return;
  outbox_bytes_ += line.size();
  if (outbox_bytes_ > limits_.outbox_bytes) {
    end_because(fmt::format("left {} bytes unread, and was ended", outbox_bytes_));
    return;
  }
  outbox_.push_back(std::move(line));
  if (outbox_.size() == 1) write_next();
}

void Connection::write_next() {
  asio::async_write(in_, asio::buffer(outbox_.front()),
                    [self = shared_from_this()](boost::system::error_code ec, std::size_t) {
                      self->outbox_bytes_ -= self->outbox_.front().size();
                      self->outbox_.pop_front();
                      // A closed stdin is no end yet: its last answer may be on the way. The reader
                      // sees the end.
                      if (ec) self->outbox_.clear(), self->outbox_bytes_ = 0;
                      if (!self->ended_ && !self->outbox_.empty()) self->write_next();
                    });
}

asio::awaitable<void> Connection::read_loop() {
  const auto self = shared_from_this();
  std::string inbox;
  for (;;) {
    auto buffer = asio::dynamic_buffer(inbox, limits_.line_bytes);
    auto [ec, n] = co_await asio::async_read_until(out_, buffer, '\n', kIo);
    if (ended_) co_return;
    if (ec == asio::error::not_found) {
      end_because(
          fmt::format("sent a line longer than {} bytes, and was ended", limits_.line_bytes));
      co_return;
    }
    if (ec) break;
    receive(std::string_view(inbox).substr(0, n - 1));
    inbox.erase(0, n);
    if (ended_) co_return;
  }
  co_await await_exit();
  if (!ended_) end_because("died");
}

asio::awaitable<void> Connection::await_exit() {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer patience(io_, kExitWait);
  co_await (exit_.async_wait(asio::posix::stream_descriptor::wait_read, kIo) ||
            patience.async_wait(kIo));
}

asio::awaitable<void> Connection::stderr_loop() {
  const auto self = shared_from_this();
  std::string chunk(4096, '\0');
  for (;;) {
    auto [ec, n] = co_await err_.async_read_some(asio::buffer(chunk), kIo);
    stderr_tail_.append(chunk, 0, n);
    if (stderr_tail_.size() > kStderrBytesMax)
      stderr_tail_.erase(0, stderr_tail_.size() - kStderrBytesMax);
    if (ec || ended_) co_return;
  }
}

void Connection::receive(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty()) return;
  auto message = parse_message(line);
  switch (message.kind) {
    case Message::garbage:
      // Some servers print to stdout what belongs to stderr; a few such lines do no harm.
      if (++n_garbage_ > limits_.n_garbage_lines) {
        end_because(fmt::format("sent {} lines that are no JSON-RPC, and was ended", n_garbage_));
      }
      return;
    case Message::request:
      send(message.method == "ping" ? empty_reply_line(message.any_id)
                                    : unknown_method_line(message.any_id, message.method));
      return;
    case Message::notification:
      if (message.method == "notifications/tools/list_changed") tools_changed_ = true;
      return;
    case Message::reply:
    case Message::failure: {
      const auto found = pending_.find(message.id);
      if (found == pending_.end()) return;  // late, or never asked
      const auto pending = found->second;
      pending_.erase(found);
      if (message.kind == Message::reply)
        pending->reply = std::move(message.result);
      else
        pending->reply = tl::unexpected(Failure{Failure::refused, std::move(message.error)});
      pending->wake.cancel();
      return;
    }
  }
}

void Connection::end_because(const std::string& what) { close(what, 0); }

void Connection::close(const std::string& why, int grace_ms) {
  if (ended_) return;
  ended_ = true;
  boost::system::error_code ignored;
  in_.close(ignored);
  const auto how = end_child(pid_, exit_.native_handle(), grace_ms);
  exit_.close(ignored);
  out_.close(ignored);
  // What it still had to say is in the pipe.
  for (char chunk[4096];;) {
    const auto n = err_.is_open() ? err_.read_some(asio::buffer(chunk), ignored) : 0;
    if (n == 0) break;
    stderr_tail_.append(chunk, n);
    if (stderr_tail_.size() > 16 * kStderrBytesMax) break;
  }
  err_.close(ignored);
  why_ended_ = why + (why == "died" ? ": " + how : "") + last_words();
  auto pending = std::move(pending_);
  pending_.clear();
  for (auto& [id, p] : pending) {
    p->reply = tl::unexpected(Failure{Failure::died, why_ended_});
    p->wake.cancel();
  }
}

std::string Connection::last_words() const {
  const auto tail = printable_tail(stderr_tail_, kLastWordsBytesMax);
  return tail.empty() ? "" : "; its last words:\n" + tail;
}

}  // namespace lares::mcp
