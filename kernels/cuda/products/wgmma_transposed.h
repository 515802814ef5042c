// wgmma as attention needs it (wgmma.h has the matrices and the fences): both factors in shared
// memory, or the second one by rows, as it lies when the first product has its rows for columns.
#pragma once

#include "kernels/cuda/products/wgmma.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

#ifdef __CUDACC__

// A factor in shared memory: what wgmma takes for its address. Those a multiple of 16 bytes further
// on differ by that, with no carry into other fields, for shared memory has less than 2^18 bytes.
struct Factor {
  std::uint64_t of;
};
LARES_DEVICE Factor factor_of(const void* values) {
  const std::uint64_t at =
      (static_cast<std::uint32_t>(__cvta_generic_to_shared(values)) & 0x3FFFF) >> 4;
  return {at | std::uint64_t{1} << 16 | std::uint64_t{64} << 32 | std::uint64_t{1} << 62};
}
LARES_DEVICE Factor further(Factor f, int bytes) {
  return {f.of + static_cast<std::uint64_t>(bytes >> 4)};
}
// ... of a matrix [rows, 64] whose rows are the sums' index: eight of them are 1024 bytes further
// on. Its 64 columns are one run of swizzled bytes, so that of the two distances only that one is
// used; both fields have it.
LARES_DEVICE Factor transposed_of(const void* values) {
  return {(factor_of(values).of & ~(std::uint64_t{0xFFFF} << 16)) | std::uint64_t{64} << 16};
}
// The same, from which the compiler makes nothing ahead: sums are cheaper to make again than to
// keep.
LARES_DEVICE Factor anew(Factor f) {
  asm volatile("" : "+l"(f.of));
  return f;
}

LARES_DEVICE int anew(int v) {
  asm volatile("" : "+r"(v));
  return v;
}

#define LARES_F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define LARES_F16(d, i) LARES_F4(d, i), LARES_F4(d, i + 4), LARES_F4(d, i + 8), LARES_F4(d, i + 12)

// d = a b + (add ? d : 0): the first 16 columns of a [64, 64] and of b [32, 64] (rows are columns
// of the product), bf16, both swizzled.
LARES_DEVICE void wgmma_shared(float (&d)[16], Factor a, Factor b, bool add) {
#ifdef LARES_WGMMA
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %18, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, "
      "%9, %10, %11, %12, %13, %14, %15}, %16, %17, "
      "p, 1, 1, 0, 0;\n\t}"
      : LARES_F16(d, 0)
      : "l"(a.of), "l"(b.of), "r"(static_cast<int>(add)));
#else
  __trap();
#endif
}
// d = a b + (add ? d : 0): a as mma's fragments, b the first 16 rows of transposed_of() a matrix
// [rows, 64] bf16.
LARES_DEVICE void wgmma_transposed(float (&d)[32], const std::uint32_t (&a)[4], Factor b,
                                   bool add) {
#ifdef LARES_WGMMA
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %37, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, "
      "%9, %10, %11, %12, %13, %14, %15, %16, "
      "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, {%32, %33, %34, "
      "%35}, %36, p, 1, 1, 1;\n\t}"
      : LARES_F16(d, 0), LARES_F16(d, 16)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.of), "r"(static_cast<int>(add)));
#else
  __trap();
#endif
}
#undef LARES_F16
#undef LARES_F4

#else

struct Factor {
  const unsigned char* of;
};
inline Factor factor_of(const void* values) { return {static_cast<const unsigned char*>(values)}; }
inline Factor transposed_of(const void* values) { return factor_of(values); }
inline Factor further(Factor f, int bytes) { return {f.of + bytes}; }
inline Factor anew(Factor f) { return f; }
inline int anew(int v) { return v; }
// By address: bits 4 to 6 of one are changed by bits 7 to 9.
inline float swizzled_bf16(Factor f, int row, int column) {
  auto at = reinterpret_cast<std::uintptr_t>(f.of) +
            static_cast<std::uintptr_t>(row * 128 + column * 2);
  at ^= at >> 3 & 0x70;
  return float_of(static_cast<std::uint32_t>(*reinterpret_cast<const std::uint16_t*>(at)) << 16);
}
inline void wgmma_shared_now(float* d, Factor a, Factor b, bool add) {
  const int lane = thread() % 32, row = thread() / 32 % 4 * 16 + lane / 4;
  for (int i = 0; i < 16; ++i) {
    double sum = add ? d[i] : 0.0f;
    for (int k = 0; k < 16; ++k)
      sum += static_cast<double>(swizzled_bf16(a, row + i % 4 / 2 * 8, k)) *
             swizzled_bf16(b, i / 4 * 8 + lane % 4 * 2 + i % 2, k);
    d[i] = static_cast<float>(sum);
  }
}
inline void wgmma_transposed_now(float* d, const std::uint32_t* a, Factor b, bool add) {
  const auto all = simt::Machine::get().exchange(a, 4);
  const int lane = thread() % 32, g = lane / 4, q = lane % 4;
  for (int i = 0; i < 32; ++i) {
    double sum = add ? d[i] : 0.0f;
    for (int k = 0; k < 16; ++k) {
      const std::uint32_t two = all[g * 4 + k % 8 / 2][i % 4 / 2 + k / 8 * 2];
      sum += static_cast<double>(float_of((two >> k % 2 * 16 & 0xFFFFu) << 16)) *
             swizzled_bf16(b, k, i / 4 * 8 + 2 * q + i % 2);
    }
    d[i] = static_cast<float>(sum);
  }
}
// When they are waited for, with what a and b are then.
inline void wgmma_shared(float (&d)[16], Factor a, Factor b, bool add) {
  simt::Machine::get().multiply_later(d, 16,
                                      [d = &d[0], a, b, add] { wgmma_shared_now(d, a, b, add); });
}
inline void wgmma_transposed(float (&d)[32], const std::uint32_t (&a)[4], Factor b, bool add) {
  simt::Machine::get().multiply_later(
      d, 32, [d = &d[0], a = &a[0], b, add] { wgmma_transposed_now(d, a, b, add); });
}

#endif

}  // namespace lares::kernels::cuda::inline LARES_SIDE
