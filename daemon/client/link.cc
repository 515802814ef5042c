#include "daemon/client/link.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <csignal>
#include <deque>
#include <utility>

#include "daemon/version.h"

namespace lares::cli {

namespace asio = boost::asio;
using asio::local::stream_protocol;
using Kind = Happening::Kind;

namespace {

constexpr std::size_t kTypedBytesMax = 1u << 20;
constexpr std::size_t kKeyBytesMax = 4096;  // at once
// a daemon that loads answers at once too; what is silent is none
constexpr std::chrono::seconds kGreetedWithin{10};

constexpr std::string_view kPerhapsAnother =
    "; if it is of another version or another program, end it, or name another socket with "
    "--socket";

// Of a method of the protocol, for people: "ask the daemon about session history".
std::string asked(std::string_view method) {
  std::string words(method);
  std::ranges::replace_if(
      words, [](char c) { return c == '/' || c == '_'; }, ' ');
  return "ask the daemon about " + words;
}

Error error_of(std::string_view method, const protocol::Error& refused) {
  Error error{refused.message, Error::Kind::refused, static_cast<int>(refused.code)};
  if (error.message.empty()) error.message = asked(method) + ": it refused";
  if (!refused.hint.empty()) error.message += "; " + refused.hint;
  return error;
}

// What could not be told which request it answers: the daemon takes no client more, or no line so
// long.
bool refuses_all(const protocol::Message& answer) { return answer.id->is_null() && answer.error; }

}  // namespace

struct Link::State {
  // Replaced at every connect(); a read in flight keeps its own, so its late completion cannot
  // touch the new one.
  struct Connection {
    explicit Connection(asio::io_context& io_context) : socket(io_context) {}
    stream_protocol::socket socket;
    std::string inbox;
    bool open = true;
  };

  asio::io_context io;
  asio::signal_set signals{io};
  asio::signal_set resizes{io, SIGWINCH};
  asio::signal_set jobs{io};
  asio::steady_timer timer{io};
  asio::posix::stream_descriptor input{io};
  std::string typed;
  char keys[kKeyBytesMax];
  bool reading_line = false, reading_keys = false;
  std::shared_ptr<Connection> connection;
  std::deque<Happening> happened;
  std::int64_t last_id = 0;

  // One that is ignored stays so: nohup means a hangup, a shell that waits for no job means Ctrl-C,
  // a program that runs this on its own terminal means Ctrl-Z.
  static void heed(asio::signal_set& by, int signal) {
    struct sigaction now {};
    boost::system::error_code ignored;
    if (::sigaction(signal, nullptr, &now) != 0 || now.sa_handler != SIG_IGN)
      by.add(signal, ignored);
  }

  void watch_signals() {
    signals.async_wait([this](const boost::system::error_code& ec, int signal) {
      if (ec) return;
      happened.push_back({signal == SIGINT    ? Kind::interrupt
                          : signal == SIGTERM ? Kind::terminate
                                              : Kind::hangup,
                          {},
                          {}});
      watch_signals();
    });
  }

  void watch_resizes() {
    resizes.async_wait([this](const boost::system::error_code& ec, int) {
      if (ec) return;
      happened.push_back({Kind::resized, {}, {}});
      watch_resizes();
    });
  }

  void watch_jobs() {
    jobs.async_wait([this](const boost::system::error_code& ec, int signal) {
      if (ec) return;
      happened.push_back({signal == SIGTSTP ? Kind::suspend : Kind::resume, {}, {}});
      watch_jobs();
    });
  }

  // False: there is no terminal to read from.
  bool open_terminal() {
    if (input.is_open()) return true;
    // The terminal opened anew and not stdin itself: asio makes what it reads non-blocking, and
    // that flag belongs to the open file, which stdin shares with stdout, stderr and the user's
    // shell.
    const int fd = ::open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    boost::system::error_code ec;
    if (fd >= 0) input.assign(fd, ec);
    if (fd >= 0 && !ec) return true;
    if (fd >= 0) ::close(fd);
    happened.push_back({Kind::no_more_input, {}, {}});
    return false;
  }

  void read(const std::shared_ptr<Connection>& from) {
    asio::async_read_until(from->socket, asio::dynamic_buffer(from->inbox, protocol::kLineBytesMax),
                           '\n', [this, from](const boost::system::error_code& ec, std::size_t n) {
                             if (!from->open) return;  // disconnect() was called
                             if (ec || !take(std::string_view(from->inbox).substr(0, n - 1))) {
                               hang_up(*from);
                               return;
                             }
                             from->inbox.erase(0, n);
                             read(from);
                           });
  }

  // False: no daemon of ours wrote this, so nothing that follows can be trusted either.
  bool take(std::string_view line) {
    protocol::Id id;
    auto message = protocol::parse_line(line, id);
    if (!message) return false;
    const Kind kind = message->id ? Kind::answer : Kind::notification;
    happened.push_back({kind, std::move(*message), std::string(line)});
    return true;
  }

  void hang_up(Connection& c) {
    boost::system::error_code ignored;
    c.open = false;
    c.socket.close(ignored);
    happened.push_back({Kind::closed, {}, {}});
  }

  // Runs handlers until more than `seen` things have happened, or the deadline passed.
  bool wait(std::size_t seen, std::chrono::steady_clock::time_point deadline) {
    io.restart();
    io.poll();
    if (happened.size() > seen) return true;
    bool late = false;
    timer.expires_at(deadline);
    timer.async_wait([&late](const boost::system::error_code& ec) { late = late || !ec; });
    while (happened.size() <= seen && !late) io.run_one();
    timer.cancel();
    io.poll();  // the cancelled wait's handler refers to `late`: let it run before that goes
    return happened.size() > seen;
  }
};

Link::Link() : state_(std::make_unique<State>()) {
  std::signal(SIGPIPE, SIG_IGN);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) State::heed(state_->signals, signal);
  state_->watch_signals();
  state_->watch_resizes();
}

Link::~Link() = default;

Result<protocol::InitializeResult> Link::connect(const std::string& socket_path) {
  disconnect();
  // What an earlier connection still had to say belongs to it; signals stay.
  std::erase_if(state_->happened, [](const Happening& h) {
    return h.kind == Kind::notification || h.kind == Kind::answer || h.kind == Kind::closed;
  });
  auto fresh = std::make_shared<State::Connection>(state_->io);
  boost::system::error_code ec;
  fresh->socket.connect(stream_protocol::endpoint(socket_path), ec);
  if (ec) {
    const bool absent = ec == boost::system::errc::no_such_file_or_directory ||
                        ec == boost::system::errc::connection_refused;
    return tl::unexpected(Error{fmt::format("connect to {}: {}; it must be a socket of yours, name "
                                            "another with --socket or LARES_SOCKET",
                                            socket_path, ec.message()),
                                absent ? Error::Kind::absent : Error::Kind::plain});
  }
  state_->connection = fresh;
  state_->read(fresh);
  protocol::Initialize hello;
  hello.client = std::string("lares/") + daemon::kVersion;
  auto answer = call<protocol::InitializeResult>(hello, kGreetedWithin);
  if (!answer) {
    disconnect();
    Error& error = answer.error();
    const bool full = error.code == static_cast<int>(protocol::Code::overloaded);
    error.message = fmt::format("greet the daemon at {}: {}{}", socket_path, error.message,
                                full ? "" : kPerhapsAnother);
  }
  return answer;
}

void Link::disconnect() {
  if (!state_->connection) return;
  boost::system::error_code ignored;
  state_->connection->open = false;
  state_->connection->socket.close(ignored);
  state_->connection.reset();
}

bool Link::connected() const { return state_->connection && state_->connection->open; }

std::int64_t Link::send_line(std::string_view method, const Json& params) {
  if (!connected()) return 0;
  const std::int64_t id = ++state_->last_id;
  const std::string line = protocol::request_line(Json(id), method, params);
  boost::system::error_code ec;
  asio::write(state_->connection->socket, asio::buffer(line), ec);
  // A failed write is not reported here: the read that is always in flight sees the same end, after
  // whatever the daemon still had to say.
  return id;
}

Result<Json> Link::call_json(std::string_view method, const Json& params,
                             std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const std::int64_t id = send_line(method, params);
  if (id == 0)
    return tl::unexpected(
        Error{fmt::format("{}: not connected to it", asked(method)), Error::Kind::disconnected});
  auto& happened = state_->happened;
  const std::string what = asked(method);
  // A signal that came before this call is the caller's business already; one that comes during it
  // ends it.
  for (std::size_t seen = happened.size();; ++seen) {
    if (happened.size() <= seen && !state_->wait(seen, deadline)) {
      return tl::unexpected(
          Error{fmt::format("{}: it did not answer within {} s", what, timeout.count() / 1000)});
    }
    const Happening& h = happened[seen];
    if (h.kind == Kind::closed) {
      return tl::unexpected(
          Error{fmt::format("{}: it hung up before it answered", what), Error::Kind::disconnected});
    }
    if (h.kind == Kind::interrupt || h.kind == Kind::terminate || h.kind == Kind::hangup) {
      return tl::unexpected(Error{fmt::format("{}: interrupted", what), Error::Kind::interrupted});
    }
    const bool answers = h.kind == Kind::answer &&
                         (*h.message.id == Json(id) || refuses_all(h.message));
    if (!answers) continue;
    protocol::Message answer = std::move(happened[seen].message);
    happened.erase(happened.begin() + static_cast<std::ptrdiff_t>(seen));
    if (answer.error) return tl::unexpected(error_of(method, *answer.error));
    return std::move(answer.result);
  }
}

Happening Link::next(std::chrono::steady_clock::time_point deadline) {
  if (state_->happened.empty() && !state_->wait(0, deadline)) return {};
  Happening first = std::move(state_->happened.front());
  state_->happened.pop_front();
  return first;
}

bool Link::interrupted(std::chrono::steady_clock::time_point deadline) {
  auto& happened = state_->happened;
  for (std::size_t seen = 0;; ++seen) {
    if (happened.size() <= seen && !state_->wait(seen, deadline)) return false;
    const Kind kind = happened[seen].kind;
    if (kind != Kind::interrupt && kind != Kind::terminate && kind != Kind::hangup) continue;
    happened.erase(happened.begin() + static_cast<std::ptrdiff_t>(seen));
    return true;
  }
}

void Link::read_line() {
  if (state_->reading_line || !state_->open_terminal()) return;
  state_->reading_line = true;
  asio::async_read_until(
      state_->input, asio::dynamic_buffer(state_->typed, kTypedBytesMax), '\n',
      [this](const boost::system::error_code& ec, std::size_t n) {
        state_->reading_line = false;
        if (ec) {
          state_->happened.push_back({Kind::no_more_input, {}, {}});
          return;
        }
        state_->happened.push_back({Kind::typed, {}, state_->typed.substr(0, n - 1)});
        state_->typed.erase(0, n);
      });
}

void Link::read_keys() {
  if (state_->reading_keys || !state_->open_terminal()) return;
  state_->reading_keys = true;
  state_->input.async_read_some(
      asio::buffer(state_->keys), [this](const boost::system::error_code& ec, std::size_t n) {
        state_->reading_keys = false;
        state_->happened.push_back(
            {ec ? Kind::no_more_input : Kind::keys, {}, std::string(state_->keys, n)});
      });
}

void Link::watch_job_control() {
  for (const int signal : {SIGTSTP, SIGCONT}) State::heed(state_->jobs, signal);
  state_->watch_jobs();
}

}  // namespace lares::cli
