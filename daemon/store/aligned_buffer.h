// Memory that O_DIRECT takes: beginning on a multiple of 4 KiB. Not cleared.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace lares::daemon::store {

inline constexpr std::size_t kDiskAlign = 4096;

constexpr std::size_t disk_aligned(std::size_t n) {
  return (n + kDiskAlign - 1) / kDiskAlign * kDiskAlign;
}

class AlignedBuffer {
 public:
  explicit AlignedBuffer(std::size_t n)
      : n_(n),
        data_(
            static_cast<std::byte*>(std::aligned_alloc(kDiskAlign, disk_aligned(n > 0 ? n : 1)))) {
    if (!data_) throw std::bad_alloc();
  }
  std::span<std::byte> span() const { return {data_.get(), n_}; }
  std::byte* data() const { return data_.get(); }
  std::size_t size() const { return n_; }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::size_t n_;
  std::unique_ptr<std::byte, Free> data_;
};

}  // namespace lares::daemon::store
