// Blocking file work off the io thread: runs on a pool, or in turn on a strand of one, and resumes
// here with its result (not void). Give `work` a name before the co_await: g++ 12 destroys a lambda
// written inside one twice.
#pragma once

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lares::daemon {

namespace asio = boost::asio;

using DiskStrand = asio::strand<asio::thread_pool::executor_type>;

// Does the job and resumes whoever waits for it, at home, with what it returns or throws.
template <class R, class Handler, class Executor, class Job>
void do_and_resume(Handler handler, const Executor& home, Job&& job) {
  std::exception_ptr error;
  std::optional<R> result;
  try {
    result.emplace(job());
  } catch (...) {
    error = std::current_exception();
  }
  asio::post(home, [handler = std::move(handler), error, result = std::move(result)]() mutable {
    std::move(handler)(error, std::move(result));
  });
}

template <class Pool, class Work>
asio::awaitable<std::invoke_result_t<Work>> on_disk_pool(Pool& pool, Work work) {
  using R = std::invoke_result_t<Work>;
  auto initiate = [&pool](auto handler, Work job) {
    auto home = asio::prefer(asio::get_associated_executor(handler),
                             asio::execution::outstanding_work.tracked);
    asio::post(pool, [handler = std::move(handler), job = std::move(job), home]() mutable {
      do_and_resume<R>(std::move(handler), home, job);
    });
  };
  auto result = co_await asio::async_initiate<const asio::use_awaitable_t<>,
                                              void(std::exception_ptr, std::optional<R>)>(
      initiate, asio::use_awaitable, std::move(work));
  co_return std::move(*result);
}

}  // namespace lares::daemon
