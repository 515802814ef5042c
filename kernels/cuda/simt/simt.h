// What kernels are written in: a thread's place, barriers, lanes that talk, loads and mma, each
// once for nvcc and once for the emulation of simt_host.h, so that the text of a kernel is the same
// in both. Kernels keep all shared memory in one dynamic array. What is compiled for the one and
// for the other has its own namespace, so that a test may have both.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#ifdef LARES_STAMPS
#include "kernels/cuda/simt/stamps_list.h"
#endif

#ifdef __CUDACC__
#define LARES_DEVICE __device__ __forceinline__
#define LARES_BOTH __host__ __device__ __forceinline__
#define LARES_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define LARES_UNROLL _Pragma("unroll")
#define LARES_UNROLL_2 _Pragma("unroll 2")
#define LARES_UNROLL_4 _Pragma("unroll 4")
#define LARES_UNROLL_8 _Pragma("unroll 8")
#define LARES_ROLLED _Pragma("unroll 1")
#define LARES_SIDE on_device
#else
#include "kernels/cuda/simt/simt_host.h"
#define LARES_DEVICE inline
#define LARES_BOTH inline
#define LARES_KERNEL(threads, blocks) inline void
#define LARES_UNROLL
#define LARES_UNROLL_2
#define LARES_UNROLL_4
#define LARES_UNROLL_8
#define LARES_ROLLED
#define LARES_SIDE emulated
#endif

namespace lares::kernels::cuda::inline LARES_SIDE {

struct alignas(16) Vec16 {
  std::uint32_t w[4];
};
struct alignas(8) Vec8 {
  std::uint32_t w[2];
};

LARES_BOTH std::uint32_t bits_of(float x) { return __builtin_bit_cast(std::uint32_t, x); }
LARES_BOTH float float_of(std::uint32_t u) { return __builtin_bit_cast(float, u); }
LARES_BOTH int smaller(int a, int b) { return a < b ? a : b; }
LARES_BOTH int larger(int a, int b) { return a > b ? a : b; }

#ifdef __CUDACC__

LARES_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
LARES_DEVICE int threads() { return static_cast<int>(blockDim.x); }
LARES_DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
LARES_DEVICE int block_y() { return static_cast<int>(blockIdx.y); }
LARES_DEVICE int block_z() { return static_cast<int>(blockIdx.z); }
LARES_DEVICE int grid_x() { return static_cast<int>(gridDim.x); }
extern __shared__ __align__(1024) unsigned char lares_shared[];
template <class T>
LARES_DEVICE T* shared() {
  return reinterpret_cast<T*>(lares_shared);
}
LARES_DEVICE void sync_block() { __syncthreads(); }
// A launch may begin before the one before it in its stream has ended: until this returns nothing
// may be read that that one writes, nor anything be written. From then on the next one may begin,
// too; so what the launches before the last one wrote is there all along.
#ifdef LARES_STAMPS
#include "kernels/cuda/simt/stamps.h"
#endif
LARES_DEVICE void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;" ::: "memory");
#endif
#ifdef LARES_STAMPS
  stamp();
#endif
}
LARES_DEVICE void sync_warp() { __syncwarp(); }
LARES_DEVICE std::uint32_t shuffle(std::uint32_t v, int lane) {
  return __shfl_sync(0xFFFFFFFFu, v, lane);
}
LARES_DEVICE std::uint32_t ballot(bool p) { return __ballot_sync(0xFFFFFFFFu, p); }
LARES_DEVICE int count_bits(std::uint32_t v) { return __popc(v); }
LARES_DEVICE std::uint32_t most_of_warp(std::uint32_t v) {
  return __reduce_max_sync(0xFFFFFFFFu, v);
}
LARES_DEVICE std::uint32_t least_of_warp(std::uint32_t v) {
  return __reduce_min_sync(0xFFFFFFFFu, v);
}
LARES_DEVICE std::uint32_t add_shared(std::uint32_t* to, std::uint32_t v) {
  return atomicAdd(to, v);
}
LARES_DEVICE void add_global(std::uint32_t* to, std::uint32_t v) { atomicAdd(to, v); }
// One of n arrives by a thread of its block, after sync_block(). The last one gets true, and sets
// the count back to 0; after its next sync_block() it may read what the others wrote before they
// arrived.
LARES_DEVICE bool arrive_last(std::uint32_t* count, std::uint32_t n) {
  std::uint32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;"
               : "=r"(before)
               : "l"(count)
               : "memory");
  if (before != n - 1) return false;
  *count = 0;
  return true;
}
// Byte i is byte s >> 4 i & 7 of b a; bit 3 of a selector stays 0.
LARES_DEVICE std::uint32_t permute_bytes(std::uint32_t a, std::uint32_t b, std::uint32_t s) {
  std::uint32_t r;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(s));
  return r;
}

// Read once: past L1.
LARES_DEVICE Vec16 load_once(const void* p) {
  Vec16 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.w[0]), "=r"(v.w[1]), "=r"(v.w[2]), "=r"(v.w[3])
               : "l"(p));
  return v;
}
// Copies to shared memory that go on beside what follows; a thread's own are there once it has
// called finish_copies().
template <int bytes>
LARES_DEVICE void copy_later(void* to, const void* from) {
  static_assert(bytes == 8 || bytes == 16);
  const auto at = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(at), "l"(from) : "memory");
}
LARES_DEVICE void finish_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
// ... or zeros, where it is not inside; and copies that end in groups, all but the last `left` of
// them.
template <int bytes>
LARES_DEVICE void copy_later(void* to, const void* from, bool inside) {
  static_assert(bytes == 4 || bytes == 16);
  const auto at = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from),
                 "r"(inside ? 16 : 0)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(from),
                 "r"(inside ? 4 : 0)
                 : "memory");
}
LARES_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int left>
LARES_DEVICE void finish_copy_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}
// d += a b, a [16, 16] by rows, b [16, 8]. With g = lane / 4, q = lane % 4: a0 rows g, a1 g + 8, k
// 2 q and 2 q + 1; a2, a3 the same, k + 8; b0 k 2 q and 2 q + 1, b1 k + 8, column g; d0, d1 row g,
// d2, d3 row g + 8, columns 2 q and 2 q + 1.
LARES_DEVICE void mma_f16(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                          std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, "
      "%9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// ... d = a b.
LARES_DEVICE void product_f16(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                              std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, "
      "%9}, {%10, %10, %10, %10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "f"(0.0f));
}
LARES_DEVICE void mma_bf16(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                           std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// Four 8 x 8 matrices of 16-bit values, lane i giving row i % 8 of matrix i / 8, transposed:
// register m of a lane holds rows 2 q and 2 q
// + 1 of column g of matrix m.
LARES_DEVICE void load_transposed(std::uint32_t (&d)[4], const void* row) {
  const auto at = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(at)
               : "memory");
}
// Four 8 x 8 matrices as they are: register m of a lane holds columns 2 q and 2 q + 1 of row g of
// matrix m.
LARES_DEVICE void load_matrices(std::uint32_t (&d)[4], const void* row) {
  const auto at = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(at)
               : "memory");
}
// Products of both bf16 halves, denormals included; where a product is no bf16 value it is rounded.
LARES_DEVICE std::uint32_t multiply_bf16(std::uint32_t a, std::uint32_t b) {
  std::uint32_t r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(0x80008000u));
  return r;
}
// The larger of both halves and 0; 0 for NaN.
LARES_DEVICE std::uint32_t positive_bf16(std::uint32_t v) {
  std::uint32_t r;
  asm("max.bf16x2 %0, %1, %2;" : "=r"(r) : "r"(v), "r"(0u));
  return r;
}

#else

inline int thread() { return simt::Machine::get().thread(); }
inline int threads() { return simt::Machine::get().threads(); }
inline int block_x() { return simt::Machine::get().block().x; }
inline int block_y() { return simt::Machine::get().block().y; }
inline int block_z() { return simt::Machine::get().block().z; }
inline int grid_x() { return simt::Machine::get().grid().x; }
template <class T>
inline T* shared() {
  return static_cast<T*>(simt::Machine::get().shared());
}
inline void sync_block() { simt::Machine::get().sync_block(); }
inline void wait_for_inputs() { simt::Machine::get().wait_for_inputs(); }
inline void sync_warp() { simt::Machine::get().sync_warp(); }
inline std::uint32_t shuffle(std::uint32_t v, int lane) {
  return simt::Machine::get().exchange(&v, 1)[lane & 31][0];
}
inline std::uint32_t ballot(bool p) {
  const std::uint32_t mine = p;
  const auto all = simt::Machine::get().exchange(&mine, 1);
  std::uint32_t r = 0;
  for (int i = 0; i < 32; ++i) r |= (all[i][0] & 1) << i;
  return r;
}
inline int count_bits(std::uint32_t v) { return __builtin_popcount(v); }
inline std::uint32_t most_of_warp(std::uint32_t v) {
  const auto all = simt::Machine::get().exchange(&v, 1);
  std::uint32_t r = 0;
  for (int i = 0; i < 32; ++i) r = all[i][0] > r ? all[i][0] : r;
  return r;
}
inline std::uint32_t least_of_warp(std::uint32_t v) { return ~most_of_warp(~v); }
inline std::uint32_t add_shared(std::uint32_t* to, std::uint32_t v) {
  return simt::Machine::get().add(to, v);
}
inline void add_global(std::uint32_t* to, std::uint32_t v) { simt::Machine::get().add(to, v); }
inline bool arrive_last(std::uint32_t* count, std::uint32_t n) {
  return simt::Machine::get().arrive_last(count, n);
}
inline std::uint32_t permute_bytes(std::uint32_t a, std::uint32_t b, std::uint32_t s) {
  const std::uint64_t both = static_cast<std::uint64_t>(b) << 32 | a;
  std::uint32_t r = 0;
  for (int i = 0; i < 4; ++i)
    r |= static_cast<std::uint32_t>(both >> (s >> 4 * i & 7) * 8 & 255) << 8 * i;
  return r;
}
inline Vec16 load_once(const void* p) {
  Vec16 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <int bytes>
inline void copy_later(void* to, const void* from) {
  simt::Machine::get().copy_later(to, from, bytes);
}
inline void finish_copies() { simt::Machine::get().finish_copies(); }
template <int bytes>
inline void copy_later(void* to, const void* from, bool inside) {
  simt::Machine::get().copy_later(to, inside ? from : nullptr, bytes);
}
inline void commit_copies() { simt::Machine::get().commit_copies(); }
template <int left>
inline void finish_copy_groups() {
  simt::Machine::get().finish_copy_groups(left);
}
// Of registers alone, so no memory is looked at.
template <class Value>
LARES_UNSEEN inline void mma_of(float (&d)[4], const std::uint32_t (&mine)[6], Value value) {
  const auto all = simt::Machine::get().exchange(mine, 6);
  const int lane = thread() % 32, g = lane / 4, q = lane % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = g + i / 2 * 8, column = 2 * q + i % 2;
    double sum = d[i];
    for (int k = 0; k < 16; ++k) {
      const std::uint32_t a = all[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2],
                          b = all[column * 4 + k % 8 / 2][4 + k / 8];
      sum += static_cast<double>(value(static_cast<std::uint16_t>(a >> k % 2 * 16))) *
             value(static_cast<std::uint16_t>(b >> k % 2 * 16));
    }
    d[i] = static_cast<float>(sum);
  }
}
inline void mma_f16(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                    std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
  mma_of(d, {a0, a1, a2, a3, b0, b1}, [](std::uint16_t v) { return simt::Machine::get().f16(v); });
}
inline void product_f16(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                        std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
  for (float& v : d) v = 0;
  mma_f16(d, a0, a1, a2, a3, b0, b1);
}
inline void mma_bf16(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                     std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
  mma_of(d, {a0, a1, a2, a3, b0, b1},
         [](std::uint16_t v) { return float_of(static_cast<std::uint32_t>(v) << 16); });
}
template <class Take>
inline void matrices_of(std::uint32_t (&d)[4], const void* row, Take take) {
  const auto at = reinterpret_cast<std::uintptr_t>(row);
  const std::uint32_t mine[2] = {static_cast<std::uint32_t>(at),
                                 static_cast<std::uint32_t>(at >> 32)};
  const auto all = simt::Machine::get().exchange(mine, 2);
  const auto element = [&](int m, int r, int c) {
    return static_cast<std::uint32_t>(reinterpret_cast<const std::uint16_t*>(
        static_cast<std::uintptr_t>(all[8 * m + r][1]) << 32 | all[8 * m + r][0])[c]);
  };
  for (int m = 0; m < 4; ++m) d[m] = take(element, m, thread() % 32 / 4, thread() % 4 * 2);
}
inline void load_transposed(std::uint32_t (&d)[4], const void* row) {
  matrices_of(d, row, [](const auto& element, int m, int g, int q2) {
    return element(m, q2, g) | element(m, q2 + 1, g) << 16;
  });
}
inline void load_matrices(std::uint32_t (&d)[4], const void* row) {
  matrices_of(d, row, [](const auto& element, int m, int g, int q2) {
    return element(m, g, q2) | element(m, g, q2 + 1) << 16;
  });
}
inline std::uint32_t multiply_bf16(std::uint32_t a, std::uint32_t b) {
  std::uint32_t r = 0;
  for (int i = 0; i < 2; ++i) {
    const float v = float_of((a >> 16 * i & 0xFFFFu) << 16) *
                    float_of((b >> 16 * i & 0xFFFFu) << 16);
    const std::uint32_t u = bits_of(v);
    r |= (v != v ? 0x7FFFu : (u + 0x7FFFu + (u >> 16 & 1u)) >> 16) << 16 * i;
  }
  return r;
}
inline std::uint32_t positive_bf16(std::uint32_t v) {
  std::uint32_t r = 0;
  for (int i = 0; i < 2; ++i)
    if (const std::uint32_t u = v >> 16 * i & 0xFFFFu; u <= 0x7F80u) r |= u << 16 * i;
  return r;
}

#endif

// Both halves times 2^120, exact for e4m3 moved to bf16's bits.
LARES_DEVICE std::uint32_t times_2_120(std::uint32_t v) { return multiply_bf16(v, 0x7B807B80u); }
LARES_DEVICE float shuffle_xor(float v, int mask) {
  return float_of(shuffle(bits_of(v), (thread() & 31) ^ mask));
}
LARES_DEVICE const std::uint8_t* pointer_from(const std::uint8_t* p, int lane) {
  const auto v = reinterpret_cast<std::uintptr_t>(p);
  const std::uint32_t low = shuffle(static_cast<std::uint32_t>(v), lane),
                      high = shuffle(static_cast<std::uint32_t>(v >> 32), lane);
  return reinterpret_cast<const std::uint8_t*>(static_cast<std::uintptr_t>(high) << 32 | low);
}
LARES_DEVICE float shuffle_from(float v, int lane) { return float_of(shuffle(bits_of(v), lane)); }

}  // namespace lares::kernels::cuda::inline LARES_SIDE
