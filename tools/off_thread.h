// Runs blocking work on a pool and resumes the coroutine on its own executor, so the io thread
// never waits for a disk.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <memory>
#include <utility>

#include "tools/tool.h"

namespace lares::tools {

// Set when the coroutine is cancelled. The work looks at it now and then; the coroutine waits until
// it has returned.
using Cancelled = std::atomic<bool>;

// The threads that a tool was given, else one of its own from the first use on.
class WorkThreads {
 public:
  explicit WorkThreads(asio::thread_pool* given) : given_(given) {}
  asio::thread_pool& get() {
    if (given_) return *given_;
    if (!own_) own_ = std::make_unique<asio::thread_pool>(1);
    return *own_;
  }

 private:
  asio::thread_pool* given_;
  std::unique_ptr<asio::thread_pool> own_;
};

// `work(const Cancelled&)` returns a T or a Result<T>; what it throws becomes an Error. The pool
// outlives the call.
template <class T = Outcome, class Work>
asio::awaitable<Result<T>> off_thread(asio::thread_pool& pool, Work work) {
  auto initiate = [&pool](auto handler, Work job) {
    auto cancelled = std::make_shared<Cancelled>(false);
    auto slot = asio::get_associated_cancellation_slot(handler);
    if (slot.is_connected()) {
      slot.assign([cancelled](asio::cancellation_type) { cancelled->store(true); });
    }
    auto home = asio::prefer(asio::get_associated_executor(handler),
                             asio::execution::outstanding_work.tracked);
    asio::post(
        pool, [handler = std::move(handler), job = std::move(job), cancelled, home]() mutable {
          Result<T> result = tl::unexpected(Error{Errc::broken, "not run"});
          try {
            result = job(*cancelled);
          } catch (const std::exception& e) {
            result = tl::unexpected(Error{Errc::broken, e.what()});
          }
          if (cancelled->load()) result = tl::unexpected(Error{Errc::cancelled, "cancelled"});
          asio::post(home, [handler = std::move(handler), result = std::move(result)]() mutable {
            asio::get_associated_cancellation_slot(handler).clear();
            std::move(handler)(std::move(result));
          });
        });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Result<T>)>(
      initiate, asio::use_awaitable, std::move(work));
}

}  // namespace lares::tools
