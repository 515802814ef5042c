// Who generates now: a bounded number at a time, the others in the order they came. On the io
// executor.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

namespace lares::daemon {

namespace asio = boost::asio;

class Queue {
 public:
  Queue(asio::any_io_executor io, std::size_t running_max, std::size_t waiting_max)
      : io_(io), waiting_max_(waiting_max), running_max_(running_max) {}
  Queue(const Queue&) = delete;

  class Place {
   public:
    ~Place();
    Place(const Place&) = delete;
    // False: `stop` was requested first.
    asio::awaitable<bool> turn(std::stop_token stop);

   private:
    friend class Queue;
    struct Waiting;
    Place(Queue& queue, std::shared_ptr<Waiting> waiting);
    Queue& queue_;
    std::shared_ptr<Waiting> waiting_;
  };
  std::unique_ptr<Place> enter();  // null: waiting_max wait already. The queue outlives the place

  void let_run(std::size_t n);  // from now on so many at a time

  std::size_t n_running() const { return n_running_; }
  std::size_t n_waiting() const { return waiting_.size(); }

 private:
  void left(const std::shared_ptr<Place::Waiting>& place);
  void let_in();  // as many of those that wait as there is room for

  asio::any_io_executor io_;
  const std::size_t waiting_max_;
  std::size_t running_max_, n_running_ = 0;
  std::deque<std::shared_ptr<Place::Waiting>> waiting_;
};

}  // namespace lares::daemon
