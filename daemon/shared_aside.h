// What was read of a long message, shared by whoever works with it.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "daemon/read_aside.h"

namespace lares::daemon {

// Let go of by the last of them, on the pool where it was long.
template <class Pool, class T>
std::shared_ptr<const T> shared_aside(Pool& pool, std::size_t bytes, T what) {
  const auto let_go = [&pool, bytes](const T* last) {
    let_go_aside(pool, bytes, std::unique_ptr<const T>(last));
  };
  return std::shared_ptr<const T>(new T(std::move(what)), let_go);
}

}  // namespace lares::daemon
