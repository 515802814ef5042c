// wgmma as attention needs it (wgmma.h has the matrices and the fences): both factors in shared memory, or the second one by rows, as it
// lies when the first product has its rows for columns. And registers that one warpgroup leaves to others.
#pragma once

#include "kernels/cuda/wgmma.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

#ifdef __CUDACC__

// Rows 16 step .. 16 step + 15 of a matrix [rows, 64] as the second factor: eight rows are 1024 bytes further on. Its 64 columns are one
// run of swizzled bytes, so that of the two distances only that one is used; both fields have it.
LARES_DEVICE std::uint64_t transposed_of(const void* values, int step) {
  const std::uint64_t at = (static_cast<std::uint32_t>(__cvta_generic_to_shared(values)) + 2048u * static_cast<std::uint32_t>(step)) >> 4;
  return (at & 0x3FFF) | std::uint64_t{64} << 16 | std::uint64_t{64} << 32 | std::uint64_t{1} << 62;
}

// What a wgmma reads is not used for anything else before this, which comes after the wait.
template <int n>
LARES_DEVICE void hold(std::uint32_t (&v)[n]) {
  LARES_UNROLL for (int i = 0; i < n; ++i) asm volatile("" : "+r"(v[i])::"memory");
}

// The same pointer, from which the compiler makes nothing ahead: descriptors are cheaper to make again than to keep.
LARES_DEVICE const unsigned char* anew(const unsigned char* p) {
  asm volatile("" : "+l"(p));
  return p;
}

// Of a warpgroup's threads: at most n registers each from here on, n a multiple of 8. What some leave, others may take.
template <int n>
LARES_DEVICE void leave_registers() {
#ifdef LARES_WGMMA
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n));
#endif
}
template <int n>
LARES_DEVICE void take_registers() {
#ifdef LARES_WGMMA
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n));
#endif
}

#define LARES_F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define LARES_F16(d, i) LARES_F4(d, i), LARES_F4(d, i + 4), LARES_F4(d, i + 8), LARES_F4(d, i + 12)

// d = a b + (add ? d : 0): a [64, 64] bf16, b [32, 64] bf16 (rows are columns of the product), of both step `step`, both swizzled.
LARES_DEVICE void wgmma_shared(float (&d)[16], const void* a, const void* b, int step, bool add) {
#ifdef LARES_WGMMA
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %18, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, %16, %17, "
      "p, 1, 1, 0, 0;\n\t}"
      : LARES_F16(d, 0)
      : "l"(matrix_of(a, step)), "l"(matrix_of(b, step)), "r"(static_cast<int>(add)));
#else
  __trap();
#endif
}
// d = a b + (add ? d : 0): a as mma's fragments, b rows 16 step .. of a matrix [rows, 64] bf16.
LARES_DEVICE void wgmma_transposed(float (&d)[32], const std::uint32_t (&a)[4], const void* values, int step, bool add) {
#ifdef LARES_WGMMA
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %37, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, "
      "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, {%32, %33, %34, %35}, %36, p, 1, 1, 1;\n\t}"
      : LARES_F16(d, 0), LARES_F16(d, 16)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(transposed_of(values, step)), "r"(static_cast<int>(add)));
#else
  __trap();
#endif
}
#undef LARES_F16
#undef LARES_F4

#else

template <int n>
inline void hold(std::uint32_t (&)[n]) {}
inline const unsigned char* anew(const unsigned char* p) { return p; }
template <int n>
inline void leave_registers() {}
template <int n>
inline void take_registers() {}

inline float swizzled_bf16(const void* values, int row, int column) {
  const auto* const piece = static_cast<const unsigned char*>(values) + swizzled(row, column / 8);
  return float_of(static_cast<std::uint32_t>(reinterpret_cast<const std::uint16_t*>(piece)[column % 8]) << 16);
}
inline void wgmma_shared(float (&d)[16], const void* a, const void* b, int step, bool add) {
  const int lane = thread() % 32, row = thread() / 32 % 4 * 16 + lane / 4;
  for (int i = 0; i < 16; ++i) {
    double sum = add ? d[i] : 0.0f;
    for (int k = 16 * step; k < 16 * step + 16; ++k)
      sum += static_cast<double>(swizzled_bf16(a, row + i % 4 / 2 * 8, k)) * swizzled_bf16(b, i / 4 * 8 + lane % 4 * 2 + i % 2, k);
    d[i] = static_cast<float>(sum);
  }
}
inline void wgmma_transposed(float (&d)[32], const std::uint32_t (&a)[4], const void* values, int step, bool add) {
  const auto all = simt::Machine::get().exchange(a, 4);
  const int lane = thread() % 32, g = lane / 4, q = lane % 4;
  for (int i = 0; i < 32; ++i) {
    double sum = add ? d[i] : 0.0f;
    for (int k = 0; k < 16; ++k) {
      const std::uint32_t two = all[g * 4 + k % 8 / 2][i % 4 / 2 + k / 8 * 2];
      sum += static_cast<double>(float_of((two >> k % 2 * 16 & 0xFFFFu) << 16)) * swizzled_bf16(values, 16 * step + k, i / 4 * 8 + 2 * q + i % 2);
    }
    d[i] = static_cast<float>(sum);
  }
}

#endif

}  // namespace lares::kernels::cuda::inline LARES_SIDE
