// What sm_90a alone has: a warpgroup (four warps) multiplies 64 rows from its registers by 64
// tokens from shared memory while its threads go on. Each warp has 16 of the rows, in the fragments
// of mma.m16n8k16 (simt.h). The emulation multiplies when a product is waited for, by the same
// definition as mma's, with what its operands are then; what it cannot show is a compiler that
// gives their registers to others.
//
// The tokens' matrix: [64, 64] 16-bit values, 128 bytes a token, from a multiple of 1024 bytes on;
// the 16-byte piece c of token n lies at piece c ^ n % 8 (the 128-byte swizzle). A step multiplies
// 16 of a token's 64 values.
#pragma once

#include "kernels/cuda/simt/simt.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kSwizzleAlign = 1024;  // bytes

LARES_BOTH constexpr int swizzled(int token, int piece) {
  return token * 128 + (piece ^ token % 8) * 16;
}  // bytes

#ifdef __CUDACC__

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define LARES_WGMMA 1
#endif

// What threads wrote into shared memory, for the wgmma of those that the next barrier lets go on.
LARES_DEVICE void publish_shared() {
#ifdef LARES_WGMMA
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
// Before wgmma reads registers that were written.
LARES_DEVICE void wgmma_fence() {
#ifdef LARES_WGMMA
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
LARES_DEVICE void wgmma_commit() {
#ifdef LARES_WGMMA
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// All but the last `left` groups have ended.
template <int left>
LARES_DEVICE void wgmma_wait() {
#ifdef LARES_WGMMA
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory");
#endif
}
// Nothing that reads or writes d is moved across this.
template <int n>
LARES_DEVICE void pin(float (&d)[n]) {
  LARES_UNROLL for (int i = 0; i < n; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// ... or writes operands that a product read which is over.
template <int n>
LARES_DEVICE void pin(std::uint32_t (&a)[n]) {
  LARES_UNROLL for (int i = 0; i < n; ++i) asm volatile("" : "+r"(a[i])::"memory");
}

// Where matrices are, of a warp's one address.
struct WgmmaMatrix {
  std::uint32_t at;  // in 16 bytes
};
// By all lanes, which have the same address: the compiler sees that one of theirs is enough.
LARES_DEVICE WgmmaMatrix wgmma_matrix(const void* values) {
  return {
      shuffle((static_cast<std::uint32_t>(__cvta_generic_to_shared(values)) & 0x3FFFF) >> 4, 0)};
}
// Step `step` (0..3) of the one `offset` bytes further: address, distance of eight tokens (1024
// bytes), 128-byte swizzle.
LARES_DEVICE std::uint64_t matrix_of(WgmmaMatrix values, int offset, int step) {
  const std::uint32_t low = values.at +
                            static_cast<std::uint32_t>((offset + 32 * step) / 16 + (1 << 16)),
                      high = 64u | 1u << 30;
  return static_cast<std::uint64_t>(high) << 32 | low;
}

#define LARES_F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define LARES_F16(d, i) LARES_F4(d, i), LARES_F4(d, i + 4), LARES_F4(d, i + 8), LARES_F4(d, i + 12)
#define LARES_WGMMA_64(type)                                                                    \
  asm volatile(                                                                                 \
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %37, 0;\n\t"                                        \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type                               \
      " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, " \
      "%19, %20, %21, %22, %23, %24, %25, "                                                     \
      "%26, %27, %28, %29, %30, %31}, {%32, %33, %34, %35}, %36, p, 1, 1, 0;\n\t}"              \
      : LARES_F16(d, 0), LARES_F16(d, 16)                                                       \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(matrix_of(values, offset, step)),       \
        "r"(static_cast<int>(add)))

// d = a b + (add ? d : 0), b step `step` of the matrix `offset` bytes from `values`; values f16, or
// bf16. d[4 c + i]: tokens 8 c + .., as mma's d[i].
template <bool f16>
LARES_DEVICE void wgmma(float (&d)[32], const std::uint32_t (&a)[4], WgmmaMatrix values, int offset,
                        int step, bool add) {
#ifdef LARES_WGMMA
  if constexpr (f16)
    LARES_WGMMA_64("f16");
  else
    LARES_WGMMA_64("bf16");
#else
  __trap();  // not launched where it does not exist
#endif
}
#undef LARES_WGMMA_64
#undef LARES_F16
#undef LARES_F4

#else

inline void publish_shared() { simt::Machine::get().publish(); }
inline void wgmma_fence() {}
inline void wgmma_commit() { simt::Machine::get().commit_products(); }
template <int left>
inline void wgmma_wait() {
  simt::Machine::get().finish_products(left);
}
template <int n>
inline void pin(float (&)[n]) {}
template <int n>
inline void pin(std::uint32_t (&)[n]) {}

template <bool f16>
inline void wgmma_now(float* d, int n, const std::uint32_t* a, const void* values, int step,
                      bool add) {
  const auto all = simt::Machine::get().exchange(a, 4);
  const int lane = thread() % 32, g = lane / 4, q = lane % 4;
  const auto value = [](std::uint32_t v) {
    return f16 ? simt::Machine::get().f16(static_cast<std::uint16_t>(v)) : float_of(v << 16);
  };
  double rows[2][16];
  for (int half = 0; half < 2; ++half)
    for (int k = 0; k < 16; ++k)
      rows[half][k] = value(all[g * 4 + k % 8 / 2][half + k / 8 * 2] >> k % 2 * 16 & 0xFFFFu);
  for (int c = 0; c < n / 4; ++c)
    for (int column = 0; column < 2; ++column) {
      const int token = 8 * c + 2 * q + column;
      double x[16];
      for (int k = 0; k < 16; ++k) {
        const auto* const piece = static_cast<const unsigned char*>(values) +
                                  swizzled(token, 2 * step + k / 8);
        x[k] = value(reinterpret_cast<const std::uint16_t*>(piece)[k % 8]);
      }
      for (int half = 0; half < 2; ++half) {
        float& to = d[4 * c + 2 * half + column];
        double sum = add ? to : 0.0f;
        for (int k = 0; k < 16; ++k) sum += rows[half][k] * x[k];
        to = static_cast<float>(sum);
      }
    }
}
using WgmmaMatrix = const unsigned char*;
inline WgmmaMatrix wgmma_matrix(const void* values) { return static_cast<WgmmaMatrix>(values); }
template <bool f16, int n>
inline void wgmma(float (&d)[n], const std::uint32_t (&a)[4], WgmmaMatrix values, int offset,
                  int step, bool add) {
  simt::Machine::get().multiply_later(d, n,
                                      [d = &d[0], a = &a[0], values = values + offset, step, add] {
                                        wgmma_now<f16>(d, n, a, values, step, add);
                                      });
}

#endif

}  // namespace lares::kernels::cuda::inline LARES_SIDE
