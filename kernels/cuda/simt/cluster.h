// Clusters: blocks that are on the device together, write into each other's shared memory and meet
// at a barrier (sm_90).
#pragma once

#include "kernels/cuda/simt/simt.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 900
LARES_DEVICE int cluster_rank() {
  std::uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
}
// Every thread arrives, and waits before it arrives again or ends. Who has waited sees what
// everybody wrote before arriving; a fence goes with that, so who has written nothing since it last
// arrived says so.
LARES_DEVICE void arrive_cluster() { asm volatile("barrier.cluster.arrive.release;" ::: "memory"); }
LARES_DEVICE void arrive_cluster_with_nothing() {
  asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
}
LARES_DEVICE void wait_cluster() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }
// Into another block's shared memory, where `at` is in this one's. That block must have begun,
// which a barrier says, and may not end before the barrier that makes the value seen.
LARES_DEVICE void store_in(int rank, float* at, float v) {
  std::uint32_t there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;"
      : "=r"(there)
      : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(at))), "r"(rank));
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there), "f"(v) : "memory");
}
#else
LARES_DEVICE int cluster_rank() { return 0; }
LARES_DEVICE void arrive_cluster() {}
LARES_DEVICE void arrive_cluster_with_nothing() {}
LARES_DEVICE void wait_cluster() {}
LARES_DEVICE void store_in(int, float*, float) {}
#endif
#else
inline int cluster_rank() { return simt::Machine::get().cluster_rank(); }
inline void arrive_cluster() { simt::Machine::get().arrive_cluster(/*publishes=*/true); }
inline void arrive_cluster_with_nothing() {
  simt::Machine::get().arrive_cluster(/*publishes=*/false);
}
inline void wait_cluster() { simt::Machine::get().wait_cluster(); }
inline void store_in(int rank, float* at, float v) {
  simt::Machine::get().store_in(rank, at, bits_of(v));
}
#endif

}  // namespace lares::kernels::cuda::inline LARES_SIDE
