// Memory that benchmarks stream through: huge pages where the system gives them; refused from
// arithmetic, never by a kill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "engine/engine.h"

namespace lares::engine::bench {

// no_memory when `bytes` for `what` do not fit into what is available.
Result<> check_fits(std::uint64_t bytes, const char* what);

class Region {
 public:
  static Result<Region> map(std::size_t bytes, const char* what);
  Region() = default;
  Region(Region&& other) noexcept { *this = std::move(other); }
  Region& operator=(Region&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(mapped_, other.mapped_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Region();

  std::uint8_t* data() const { return data_; }  // on a 2 MB boundary
  std::size_t size() const { return size_; }

 private:
  void* base_ = nullptr;
  std::size_t mapped_ = 0, size_ = 0;
  std::uint8_t* data_ = nullptr;
};

}  // namespace lares::engine::bench
