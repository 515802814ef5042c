// Blocking file work off the io thread: runs on a pool and resumes here with its result.
#pragma once

#include <exception>
#include <type_traits>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lares::daemon {

namespace asio = boost::asio;

template <class Work>
asio::awaitable<std::invoke_result_t<Work>> on_disk_pool(asio::thread_pool& pool, Work work) {
  const auto job = [](Work w) -> asio::awaitable<std::invoke_result_t<Work>> { co_return w(); };
  co_return co_await asio::co_spawn(pool, job(std::move(work)), asio::use_awaitable);
}

}  // namespace lares::daemon
