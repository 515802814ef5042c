// Copies of whole runs of bytes from global into shared memory, by the copy engine that sm_90 has,
// and the barriers on which they end: one lane issues, its warp waits. Barriers of a ring that many
// fill and many empty. And barriers of some of a block's threads. In the emulation a copy ends when
// it is waited for.
#pragma once

#include "kernels/cuda/simt/simt.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

using BulkBarrier = std::uint64_t;  // in shared memory

#ifdef __CUDACC__

#if __CUDA_ARCH__ >= 900
LARES_DEVICE std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}
// What createpolicy.fractional.L2::evict_first gives
inline constexpr unsigned long long kEvictFirst = 0x12F0000000000000ull;
// By one thread, before a barrier of all that issue or wait.
LARES_DEVICE void make_barriers(BulkBarrier* b, int n) {
  LARES_ROLLED for (int i = 0; i < n; ++i) asm volatile(
      "mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(b + i)) : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
// Both 16-byte aligned, bytes a multiple of 16. What is copied goes from L2 first: it is read once,
// and the code of the next launches and what they hand to each other should still be there.
LARES_DEVICE void bulk_copy(void* to, const void* from, int bytes, BulkBarrier* b) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)),
               "r"(bytes)
               : "memory");
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
      "[%1], %2, [%3], %4;" ::"r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(b)), "l"(kEvictFirst)
      : "memory");
}
// Until the barrier's copy number `use` (from 0) has ended.
LARES_DEVICE void wait_bulk(BulkBarrier* b, int use) {
  asm volatile(
      "{\n\t.reg .pred p;\nagain:\n\tmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n\t@p "
      "bra done;\n\tbra again;\ndone:\n\t}" ::"r"(shared_address(b)),
      "r"(use & 1)
      : "memory");
}
// A ring's barrier: a phase is over when so many have arrived and all bytes announced are there. By
// one thread, before a sync_block().
LARES_DEVICE void make_ring_barrier(BulkBarrier* b, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals)
               : "memory");
}
LARES_DEVICE void publish_ring_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
LARES_DEVICE void arrive_ring(BulkBarrier* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
// ... and announces what copy_ring() will bring.
LARES_DEVICE void announce_ring(BulkBarrier* b, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)),
               "r"(bytes)
               : "memory");
}
// As bulk_copy(), but of what other blocks read too: it stays in L2.
LARES_DEVICE void copy_ring(void* to, const void* from, int bytes, BulkBarrier* b) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(b))
      : "memory");
}
// Until the phase of this parity is over. A new barrier is in phase 0, and the one before that, of
// parity 1, counts as over.
LARES_DEVICE void wait_ring(BulkBarrier* b, int parity) { wait_bulk(b, parity); }
#else
LARES_DEVICE void make_barriers(BulkBarrier*, int) { __trap(); }
LARES_DEVICE void bulk_copy(void*, const void*, int, BulkBarrier*) { __trap(); }
LARES_DEVICE void wait_bulk(BulkBarrier*, int) { __trap(); }
LARES_DEVICE void make_ring_barrier(BulkBarrier*, int) { __trap(); }
LARES_DEVICE void publish_ring_barriers() {}
LARES_DEVICE void arrive_ring(BulkBarrier*) {}
LARES_DEVICE void announce_ring(BulkBarrier*, int) {}
LARES_DEVICE void copy_ring(void*, const void*, int, BulkBarrier*) {}
LARES_DEVICE void wait_ring(BulkBarrier*, int) {}
#endif
// Registers of a thread of this warpgroup from here on: whoever gives, so that others may take.
template <int n>
LARES_DEVICE void give_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n));
#endif
}
template <int n>
LARES_DEVICE void take_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n));
#endif
}
// Past L1, which may still have what was there before.
LARES_DEVICE std::int32_t load_fresh(const std::int32_t* p) {
  std::int32_t v;
  asm volatile("ld.global.cg.s32 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}
LARES_DEVICE float load_fresh(const float* p) {
  float v;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(p));
  return v;
}
LARES_DEVICE Vec16 load_fresh16(const void* p) {
  Vec16 v;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.w[0]), "=r"(v.w[1]), "=r"(v.w[2]), "=r"(v.w[3])
               : "l"(p));
  return v;
}
// Brings the line nearer that has this byte.
LARES_DEVICE void ask_line(const void* p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }
// Barrier 1 to 15, `n` threads in all, whole warps: sync waits for the others, arrive does not.
LARES_DEVICE void sync_some(int barrier, int n) {
  asm volatile("barrier.cta.sync.aligned %0, %1;" ::"r"(barrier), "r"(n) : "memory");
}
LARES_DEVICE void arrive_some(int barrier, int n) {
  asm volatile("barrier.cta.arrive.aligned %0, %1;" ::"r"(barrier), "r"(n) : "memory");
}

#else

inline void make_barriers(BulkBarrier* b, int n) {
  for (int i = 0; i < n; ++i) simt::Machine::get().make_phase(b + i, 1);
  simt::Machine::get().publish();
}
inline void bulk_copy(void* to, const void* from, int bytes, BulkBarrier* b) {
  simt::Machine::get().arrive_and_copy(b, to, from, bytes);
}
inline void wait_bulk(BulkBarrier* b, int use) { simt::Machine::get().wait_phase(b, use & 1); }
inline void make_ring_barrier(BulkBarrier* b, int arrivals) {
  simt::Machine::get().make_phase(b, arrivals);
}
inline void publish_ring_barriers() { simt::Machine::get().publish(); }
inline void arrive_ring(BulkBarrier* b) { simt::Machine::get().arrive_phase(b, 0); }
inline void announce_ring(BulkBarrier* b, int bytes) {
  simt::Machine::get().arrive_phase(b, bytes);
}
inline void copy_ring(void* to, const void* from, int bytes, BulkBarrier* b) {
  simt::Machine::get().copy_onto(b, to, from, bytes);
}
inline void wait_ring(BulkBarrier* b, int parity) { simt::Machine::get().wait_phase(b, parity); }
template <int n>
inline void give_registers() {}
template <int n>
inline void take_registers() {}
inline std::int32_t load_fresh(const std::int32_t* p) { return *p; }
inline float load_fresh(const float* p) { return *p; }
inline Vec16 load_fresh16(const void* p) { return load_once(p); }
inline void ask_line(const void*) {}
inline void sync_some(int barrier, int n) { simt::Machine::get().sync_some(barrier, n); }
inline void arrive_some(int barrier, int n) { simt::Machine::get().arrive_some(barrier, n); }

#endif

}  // namespace lares::kernels::cuda::inline LARES_SIDE
