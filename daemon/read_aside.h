// What clients send is read off the io thread where it is long.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "daemon/on_disk_pool.h"

namespace lares::daemon {

inline constexpr std::size_t kReadAsideBytes = 64 << 10;  // about a millisecond

// What `read` makes of so many bytes, on the pool or right here. Give `read` a name before the
// co_await, as on_disk_pool.h says.
template <class Pool, class Read>
asio::awaitable<std::invoke_result_t<Read>> aside_where_long(Pool& pool, std::size_t bytes,
                                                             Read read) {
  if (bytes < kReadAsideBytes) co_return read();
  auto reading = on_disk_pool(pool, std::move(read));
  co_return co_await std::move(reading);
}

// What so many bytes were read as takes about as long to be let go of.
template <class Pool, class T>
void let_go_aside(Pool& pool, std::size_t bytes, T what) {
  if (bytes >= kReadAsideBytes) asio::post(pool, [what = std::move(what)] {});
}

}  // namespace lares::daemon
