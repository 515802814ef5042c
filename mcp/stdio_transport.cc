#include "mcp/stdio_transport.h"

#include <unistd.h>

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>

#include "mcp/deadline.h"
#include "mcp/reading.h"

namespace lares::mcp {
namespace {

using Descriptor = asio::posix::stream_descriptor;

constexpr auto kIo = asio::as_tuple(asio::use_awaitable);  // errors come back as values
constexpr std::size_t kStderrBytesMax = 4 << 10;           // of its end
constexpr std::size_t kLastWordsBytesMax = 600;
constexpr std::size_t kFarewellBytesMax = 64 << 10;  // of stderr, read after its end
constexpr int kExitWaitMs = 500;                     // from the end of its output to its own end
constexpr int kKillMs = 5'000;                       // until all of it is gone
// From its own end to that of its output, which a child of it may hold open
constexpr int kDrainMs = 200;

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

// False: it still runs.
asio::awaitable<bool> ends_within(Descriptor& exit, int ms) {
  Deadline deadline(exit.get_executor(), ms, [&] { exit.cancel(); });
  auto [ec] = co_await exit.async_wait(Descriptor::wait_read, kIo);
  co_return !ec;
}

// Its stdin is closed already. Where the loop ends before, the tree dies with this coroutine's
// frame.
asio::awaitable<void> farewell(Tree tree, Descriptor exit, Limits limits) {
  auto ending = ends_within(exit, limits.eof_grace_ms);
  bool ended = co_await std::move(ending);
  if (!ended) {
    tree.terminate();
    auto terminating = ends_within(exit, limits.term_grace_ms);
    ended = co_await std::move(terminating);
  }
  if (!ended) {
    tree.begin_kill();
    auto killing = ends_within(exit, kKillMs);
    ended = co_await std::move(killing);
  }
  tree.kill();
}

}  // namespace

StdioTransport::StdioTransport(asio::any_io_executor io, Child child, const Limits& limits)
    : io_(io),
      limits_(limits),
      tree_(std::move(child.tree)),
      in_(io, child.in),
      out_(io, child.out),
      err_(io, child.err),
      exit_(io, child.pidfd) {}

StdioTransport::~StdioTransport() { kill("is no longer needed"); }

void StdioTransport::start(Events events) {
  events_ = std::move(events);
  const auto broken = [self = shared_from_this()](std::exception_ptr thrown) {
    if (thrown) self->kill("broke its connection");
  };
  asio::co_spawn(io_, read_loop(), broken);
  asio::co_spawn(io_, stderr_loop(), broken);
  asio::co_spawn(io_, await_exit(), broken);
}

void StdioTransport::send(Outgoing message) {
  if (ended_) return;
  outbox_bytes_ += message.line.size();
  if (outbox_bytes_ > limits_.outbox_bytes)
    return kill(fmt::format("left {} bytes unread, and was ended", outbox_bytes_));
  outbox_.push_back(std::move(message.line));
  if (outbox_.size() == 1) write_next();
}

void StdioTransport::write_next() {
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

asio::awaitable<void> StdioTransport::read_loop() {
  const auto self = shared_from_this();
  std::string inbox;
  for (;;) {
    auto buffer = asio::dynamic_buffer(inbox, limits_.line_bytes);
    auto [ec, n] = co_await asio::async_read_until(out_, buffer, '\n', kIo);
    if (ended_) co_return;
    if (ec == asio::error::not_found) {
      kill(fmt::format("sent a line longer than {} bytes, and was ended", limits_.line_bytes));
      co_return;
    }
    if (ec) break;
    reading_ = true;
    auto receiving = receive(std::string_view(inbox).substr(0, n - 1));
    co_await std::move(receiving);
    reading_ = false;
    inbox.erase(0, n);
    if (ended_) co_return;
  }
  // Closed its output: await_exit sees its end, unless it lives on without a voice.
  asio::steady_timer patience(io_, std::chrono::milliseconds(kExitWaitMs));
  co_await patience.async_wait(kIo);
  if (!ended_) kill("closed its output, and was ended");
}

asio::awaitable<void> StdioTransport::await_exit() {
  const auto self = shared_from_this();
  auto [ec] = co_await exit_.async_wait(Descriptor::wait_read, kIo);
  if (ec || ended_) co_return;
  asio::steady_timer drain(io_);
  do {  // what it wrote last is read before its end is told
    drain.expires_after(std::chrono::milliseconds(kDrainMs));
    co_await drain.async_wait(kIo);
  } while (reading_ && !ended_);
  if (!ended_) kill("died");
}

asio::awaitable<void> StdioTransport::stderr_loop() {
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

asio::awaitable<void> StdioTransport::receive(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty()) co_return;
  auto reading = read_messages(limits_.threads, line);
  auto messages = co_await std::move(reading);
  if (!messages) {
    if (!ended_) kill(messages.error() + "; it was ended");
    co_return;
  }
  for (auto& message : *messages) {
    if (ended_) co_return;
    if (message.kind != Message::garbage) {
      n_garbage_ = 0;
      events_.message(std::move(message));
      continue;
    }
    // Some servers print to stdout what belongs to stderr, with every call; a few such lines do no
    // harm.
    if (++n_garbage_ > limits_.n_garbage_lines)
      kill(fmt::format("sent {} lines that are no JSON-RPC, and was ended", n_garbage_));
  }
}

void StdioTransport::kill(const std::string& why) {
  if (ended_) return;
  const auto how = tree_.kill();
  // What it still had to say is in the pipe. Read plainly, for asio's would wait where a helper of
  // the server's outlives it with the pipe.
  for (char chunk[4096]; err_.is_open() && stderr_tail_.size() < kFarewellBytesMax;) {
    const ssize_t n = ::read(err_.native_handle(), chunk, sizeof chunk);
    if (n <= 0) break;
    stderr_tail_.append(chunk, static_cast<std::size_t>(n));
  }
  end(why + (why == "died" ? ": " + how : "") + last_words());
}

void StdioTransport::close(const std::string& why) {
  if (ended_) return;
  boost::system::error_code ignored, failed;
  in_.close(ignored);
  const int pidfd = exit_.release();
  Descriptor exit(io_);
  if (exit.assign(pidfd, failed); failed) {  // the loop itself ends: nobody would wait
    ::close(pidfd);
    tree_.kill();
  } else {
    asio::co_spawn(io_, farewell(std::move(tree_), std::move(exit), limits_), asio::detached);
  }
  end(why);
}

void StdioTransport::end(const std::string& why) {
  ended_ = true;
  why_ended_ = why;
  boost::system::error_code ignored;
  for (auto* pipe : {&in_, &out_, &err_, &exit_}) pipe->close(ignored);
  if (events_.ended) events_.ended(why_ended_);
}

std::string StdioTransport::last_words() const {
  const auto tail = printable_tail(stderr_tail_, kLastWordsBytesMax);
  return tail.empty() ? "" : "; its last words:\n" + tail;
}

}  // namespace lares::mcp
