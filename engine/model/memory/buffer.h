// Work space of the forward pass: floats that begin on a cache line, on huge pages where they are
// many, not initialised. Large ones begin at different places of a page, for what lies a multiple
// of it apart is in the same set of a cache, and stores that match a load in their address within a
// page hold it up.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

namespace lares::engine {

inline constexpr std::size_t kCacheLine = 64, kHugePage = std::size_t{2} << 20;  // bytes

template <class T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <class U>
  LineAllocator(const LineAllocator<U>&) {}

  T* allocate(std::size_t n) {
    static std::atomic<unsigned> next{0};
    const std::size_t unit = unit_of(n), offset = unit == kHugePage ? next++ % kPlaces * kPlace : 0;
    const std::size_t bytes = (n * sizeof(T) + offset + unit - 1) / unit * unit;
    void* const at = std::aligned_alloc(unit, bytes);
    if (!at) throw std::bad_alloc();
    if (unit == kHugePage) ::madvise(at, bytes, MADV_HUGEPAGE);  // a wish
    return reinterpret_cast<T*>(static_cast<char*>(at) + offset);
  }
  void deallocate(T* at, std::size_t n) {
    std::free(
        reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(at) / unit_of(n) * unit_of(n)));
  }

  template <class U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;
  }
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }

  bool operator==(const LineAllocator&) const { return true; }

 private:
  // Within a page of 4096 bytes
  static constexpr std::size_t kPlaces = 12, kPlace = 5 * kCacheLine;
  static constexpr std::size_t unit_of(std::size_t n) {
    return n * sizeof(T) < kHugePage ? kCacheLine : kHugePage;
  }
};

using Buffer = std::vector<float, LineAllocator<float>>;

// Room for at least `n` floats, whose values are lost when it grows; never shrinks.
inline float* room(Buffer& buffer, std::size_t n) {
  if (buffer.size() < n) {
    Buffer().swap(buffer);
    buffer.resize(n);
  }
  return buffer.data();
}

}  // namespace lares::engine
