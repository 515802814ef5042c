#include "daemon/completions/queue.h"

#include <utility>

#include "daemon/gate.h"

namespace lares::daemon {

struct Queue::Place::Waiting {
  explicit Waiting(asio::any_io_executor io) : gate(io) {}
  Gate gate;  // open: it is its turn, or it was stopped
  bool running = false;
};

Queue::Place::Place(Queue& queue, std::shared_ptr<Waiting> waiting)
    : queue_(queue), waiting_(std::move(waiting)) {}
Queue::Place::~Place() { queue_.left(waiting_); }

std::unique_ptr<Queue::Place> Queue::enter() {
  const bool at_once = n_running_ < running_max_;
  if (!at_once && waiting_.size() >= waiting_max_) return nullptr;
  auto waiting = std::make_shared<Place::Waiting>(io_);
  if (at_once) {
    ++n_running_;
    waiting->running = true;
    waiting->gate.open();
  } else {
    waiting_.push_back(waiting);
  }
  return std::unique_ptr<Place>(new Place(*this, std::move(waiting)));
}

asio::awaitable<bool> Queue::Place::turn(std::stop_token stop) {
  const auto waiting = waiting_;
  const std::stop_callback stopped(stop, [&] { waiting->gate.open(); });
  auto opened = waiting->gate.wait();
  co_await std::move(opened);
  co_return waiting->running && !stop.stop_requested();
}

void Queue::left(const std::shared_ptr<Place::Waiting>& place) {
  if (!place->running) {
    std::erase(waiting_, place);
    return;
  }
  --n_running_;
  let_in();
}

void Queue::let_run(std::size_t n) {
  running_max_ = n;
  let_in();
}

void Queue::let_in() {
  while (n_running_ < running_max_ && !waiting_.empty()) {
    const auto next = std::move(waiting_.front());
    waiting_.pop_front();
    ++n_running_;
    next->running = true;
    next->gate.open();
  }
}

}  // namespace lares::daemon
