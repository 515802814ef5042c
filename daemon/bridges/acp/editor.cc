#include "daemon/bridges/acp/editor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include <boost/asio/post.hpp>

#include "daemon/bridges/stdio.h"
#include "daemon/gate.h"

namespace lares::cli::acp {
namespace {

constexpr std::chrono::milliseconds kLastWords{2000};

}  // namespace

struct Editor::Asked {
  explicit Asked(asio::any_io_executor io) : gate(io) {}
  daemon::Gate gate;
  Reply<Json> reply;
};

struct Editor::Pipes : std::enable_shared_from_this<Pipes> {
  Pipes(asio::any_io_executor executor, int in, int out)
      : io(executor), in_fd(in), out_fd(out), stop_fd(::eventfd(0, EFD_CLOEXEC)), room(executor) {}
  ~Pipes() { ::close(stop_fd); }

  // False: this is the end.
  bool wait(int fd, short what) const {
    pollfd fds[] = {{fd, what, 0}, {stop_fd, POLLIN, 0}};
    while (::poll(fds, 2, -1) < 0)
      if (errno != EINTR) return false;
    return fds[1].revents == 0;
  }

  void read_lines() {
    std::string chunk(kStdioReadBytes, '\0');
    LineReader lines(kEditorLines);
    const auto tell = [this](Line line) {
      asio::post(io, [self = shared_from_this(), line = std::move(line)]() mutable {
        self->events.line(std::move(line));
      });
    };
    while (wait(in_fd, POLLIN)) {
      const ssize_t n = ::read(in_fd, chunk.data(), chunk.size());
      if (n < 0 && is_passing(errno)) continue;
      if (n <= 0)
        break;  // what has no newline yet was not sent: a message cut short is not acted on
      lines.take(std::string_view(chunk.data(), static_cast<std::size_t>(n)), tell);
    }
    asio::post(io, [self = shared_from_this()] { self->events.end(); });
  }

  void write_lines() {
    for (;;) {
      std::string line;
      {
        std::unique_lock lock(mutex);
        filled.wait(lock, [&] { return !outbox.empty() || finishing; });
        if (outbox.empty()) return;
        line = std::move(outbox.front());
        outbox.pop_front();
      }
      if (!write(line)) {
        asio::post(io, [self = shared_from_this()] { self->events.end(); });
        return broken();
      }
      const std::scoped_lock lock(mutex);
      unwritten -= line.size();
      if (unwritten == 0) emptied.notify_all();
      if (unwritten <= kUnwrittenBytesMax)
        asio::post(io, [self = shared_from_this()] { self->room.open(); });
    }
  }

  bool write(std::string_view line) const {
    while (!line.empty()) {
      if (!wait(out_fd, POLLOUT)) return false;
      const ssize_t n = write_some(out_fd, line);
      if (n < 0 && is_passing(errno)) continue;
      if (n < 0) return false;
      line.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  // Nobody reads any more: nothing waits for it.
  void broken() {
    const std::scoped_lock lock(mutex);
    outbox.clear(), unwritten = 0, finishing = true;
    asio::post(io, [self = shared_from_this()] { self->room.open(); });
    emptied.notify_all();
  }

  void push(std::string line) {
    const std::scoped_lock lock(mutex);
    if (finishing) return;
    unwritten += line.size();
    if (unwritten > kUnwrittenBytesMax) room.close();
    outbox.push_back(std::move(line));
    filled.notify_one();
  }

  asio::any_io_executor io;
  const int in_fd, out_fd, stop_fd;
  Events events;
  std::mutex mutex;
  std::condition_variable filled, emptied;
  std::deque<std::string> outbox;
  std::size_t unwritten = 0;
  bool finishing = false;
  daemon::Gate room;  // of the executor's thread
  std::thread reader, writer;
};

Editor::Editor(asio::any_io_executor io, int in, int out)
    : io_(io), pipes_(std::make_shared<Pipes>(io, in, out)) {
  pipes_->room.open();
}

void Editor::start(Events events) {
  pipes_->events = std::move(events);
  pipes_->reader = std::thread([pipes = pipes_] { pipes->read_lines(); });
  pipes_->writer = std::thread([pipes = pipes_] { pipes->write_lines(); });
}

Editor::~Editor() { finish(); }

void Editor::finish() {
  if (!pipes_->reader.joinable()) return;
  {
    std::unique_lock lock(pipes_->mutex);
    pipes_->finishing = true;
    pipes_->filled.notify_all();
    // An editor that reads nothing does not keep this process.
    pipes_->emptied.wait_for(lock, kLastWords, [&] { return pipes_->unwritten == 0; });
  }
  const std::uint64_t one = 1;
  (void)!::write(pipes_->stop_fd, &one, sizeof one);
  pipes_->writer.join();
  pipes_->reader.join();
}

void Editor::notify(std::string_view method, const Json& params) {
  pipes_->push(notification_line(method, params));
}

void Editor::answer(const Json& id, const Reply<Json>& reply) {
  pipes_->push(reply ? result_line(id, *reply) : fault_line(id, reply.error()));
}

asio::awaitable<void> Editor::drained() { return pipes_->room.wait(); }

std::int64_t Editor::ask(std::string_view method, const Json& params) {
  const std::int64_t id = ++last_id_;
  const auto asked = std::make_shared<Asked>(io_);
  if (asked_.size() >= kAskedMax) {
    asked->reply = tl::unexpected(Fault{
        kInternal,
        "ask the editor: it has left " + std::to_string(kAskedMax) + " questions unanswered"});
    asked->gate.open();
  } else {
    pipes_->push(request_line(id, method, params));
  }
  asked_[id] = asked;
  return id;
}

asio::awaitable<Reply<Json>> Editor::answered(std::int64_t id) {
  const auto it = asked_.find(id);
  if (it == asked_.end()) co_return tl::unexpected(Fault{kCancelled, "ask the editor: taken back"});
  const auto asked = it->second;
  co_await asked->gate.wait();
  asked_.erase(id);
  co_return std::move(asked->reply);
}

void Editor::withdraw(std::int64_t id) {
  const auto it = asked_.find(id);
  if (it == asked_.end() || it->second->gate.is_open()) return;
  notify("$/cancel_request", {{"requestId", id}});
  it->second->reply = tl::unexpected(Fault{kCancelled, "ask the editor: taken back"});
  it->second->gate.open();
}

void Editor::heard(const Message& response) {
  if (!response.id || !response.id->is_number_integer()) return;
  const auto it = asked_.find(response.id->get<std::int64_t>());
  if (it == asked_.end() || it->second->gate.is_open()) return;
  if (response.fault)
    it->second->reply = tl::unexpected(*response.fault);
  else
    it->second->reply = response.result;
  it->second->gate.open();
}

}  // namespace lares::cli::acp
