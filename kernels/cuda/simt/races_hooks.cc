// What a compiler calls under -fsanitize=thread before every access to memory that is not a
// function's own, in place of that sanitizer's library.
#include "kernels/cuda/simt/races_memory.h"

namespace races = lares::kernels::cuda::simt::races;

namespace {
inline void touch(const void* at, std::size_t bytes, bool writes, const void* from) {
  if (races::Thread* const t = races::current)
    races::touch(*t, at, bytes, writes, reinterpret_cast<std::uintptr_t>(from));
}
}  // namespace

#define LARES_ACCESS(name, bytes, writes) \
  void __tsan_##name(void* at) { touch(at, bytes, writes, __builtin_return_address(0)); }
#define LARES_ACCESSES(bytes)                       \
  LARES_ACCESS(read##bytes, bytes, false)           \
  LARES_ACCESS(write##bytes, bytes, true)           \
  LARES_ACCESS(unaligned_read##bytes, bytes, false) \
  LARES_ACCESS(unaligned_write##bytes, bytes, true)

extern "C" {
LARES_ACCESSES(1)
LARES_ACCESSES(2)
LARES_ACCESSES(4)
LARES_ACCESSES(8)
LARES_ACCESSES(16)
void __tsan_read_range(void* at, std::size_t bytes) {
  touch(at, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void* at, std::size_t bytes) {
  touch(at, bytes, true, __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

// Atomics of the standard library, which kernels do not use: all are made in one order.
#define LARES_ATOMICS(bits, type)                                                                  \
  type __tsan_atomic##bits##_load(const volatile type* at, int) {                                  \
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                  \
  }                                                                                                \
  void __tsan_atomic##bits##_store(volatile type* at, type v, int) {                               \
    __atomic_store_n(at, v, __ATOMIC_SEQ_CST);                                                     \
  }                                                                                                \
  type __tsan_atomic##bits##_exchange(volatile type* at, type v, int) {                            \
    return __atomic_exchange_n(at, v, __ATOMIC_SEQ_CST);                                           \
  }                                                                                                \
  type __tsan_atomic##bits##_fetch_add(volatile type* at, type v, int) {                           \
    return __atomic_fetch_add(at, v, __ATOMIC_SEQ_CST);                                            \
  }                                                                                                \
  type __tsan_atomic##bits##_fetch_sub(volatile type* at, type v, int) {                           \
    return __atomic_fetch_sub(at, v, __ATOMIC_SEQ_CST);                                            \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile type* at, type* expected, type v,     \
                                                    int, int) {                                    \
    return __atomic_compare_exchange_n(at, expected, v, false, __ATOMIC_SEQ_CST,                   \
                                       __ATOMIC_SEQ_CST);                                          \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile type* at, type* expected, type v, int,  \
                                                  int) {                                           \
    return __atomic_compare_exchange_n(at, expected, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }
LARES_ATOMICS(8, std::uint8_t)
LARES_ATOMICS(16, std::uint16_t)
LARES_ATOMICS(32, std::uint32_t)
LARES_ATOMICS(64, std::uint64_t)
}
