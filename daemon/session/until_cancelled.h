// Blocking work on a pool that its caller stops waiting for when cancelled.
#pragma once

#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

namespace lares::daemon {

namespace asio = boost::asio;

// Who waits for a result, until somebody has told them: the work, or a cancellation before it.
template <class Handler, class Home, class R>
class Waiting {
 public:
  Waiting(Handler handler, Home home) : handler_(std::move(handler)), home_(std::move(home)) {}
  bool told() const { return told_; }
  // Once; any thread.
  void tell(std::exception_ptr error, std::optional<R> result) {
    if (told_.exchange(true)) return;
    asio::post(home_, [handler = std::move(handler_), error = std::move(error),
                       result = std::move(result)]() mutable {
      asio::get_associated_cancellation_slot(handler).clear();
      std::move(handler)(error, std::move(result));
    });
  }

 private:
  std::atomic<bool> told_ = false;
  Handler handler_;
  Home home_;
};

// As on_disk_pool(), but a cancellation throws asio::error::operation_aborted at once. Work that
// waits for its turn is not done then; work that has begun goes on by itself, and what it comes to
// is dropped. So it must own what it works with.
template <class Pool, class Work>
asio::awaitable<std::invoke_result_t<Work>> on_disk_pool_until_cancelled(Pool& pool, Work work) {
  using R = std::invoke_result_t<Work>;
  auto initiate = [&pool](auto handler, Work job) {
    auto home = asio::prefer(asio::get_associated_executor(handler),
                             asio::execution::outstanding_work.tracked);
    auto slot = asio::get_associated_cancellation_slot(handler);
    const auto waiting = std::make_shared<Waiting<decltype(handler), decltype(home), R>>(
        std::move(handler), std::move(home));
    if (slot.is_connected()) {
      // Weakly: whoever waits owns the slot, and is unwound with the pool's queue.
      slot.assign([waits = std::weak_ptr(waiting)](asio::cancellation_type) {
        const boost::system::system_error aborted(asio::error::operation_aborted);
        if (const auto there = waits.lock())
          there->tell(std::make_exception_ptr(aborted), std::nullopt);
      });
    }
    asio::post(pool, [waiting, job = std::move(job)]() mutable {
      if (waiting->told()) return;
      std::exception_ptr error;
      std::optional<R> result;
      try {
        result.emplace(job());
      } catch (...) {
        error = std::current_exception();
      }
      waiting->tell(std::move(error), std::move(result));
    });
  };
  auto result = co_await asio::async_initiate<const asio::use_awaitable_t<>,
                                              void(std::exception_ptr, std::optional<R>)>(
      initiate, asio::use_awaitable, std::move(work));
  co_return std::move(*result);
}

}  // namespace lares::daemon
