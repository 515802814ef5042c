// Launching a kernel from a .cu file: shared memory beyond 48 KB asked for, errors as results.
// Where a device can (sm_90), a launch may begin before the one before it has ended; every kernel
// calls wait_for_inputs() (simt.h). Without nvcc a launch is its body's emulation, at once.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif

#include "kernels/cuda/device.h"
#include "kernels/cuda/simt.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

constexpr Status refused(const char* why) { return {Status::kRefused, why}; }

struct Grid {
  int x = 1, y = 1, z = 1;
};

#ifdef __CUDACC__

// Whether the current device begins launches early, and has code that waits for the one before:
// that of sm_90a. Newer ones run what was made for sm_80.
inline bool overlaps() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major == 9;
}

// Shared memory that a block of the current device may ask for.
inline int shared_bytes_max() {
  int device = 0, n = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
                 cudaDeviceGetAttribute(&n, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ==
                     cudaSuccess
             ? n
             : 0;
}

// SMs, where they have an engine that copies into shared memory; else 0.
inline int streaming_sms() {
  int device = 0, n = 0;
  return overlaps() && cudaGetDevice(&device) == cudaSuccess &&
                 cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, device) == cudaSuccess
             ? n
             : 0;
}

// Whether the current device has wgmma as sm_90a does: later ones have it no more.
inline bool has_wgmma() {
  int device = 0, major = 0, minor = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess &&
         major == 9 && minor == 0;
}

template <class... Params, class... Args>
Status launch(const char* what, void (*kernel)(Params...), Grid grid, int threads, int shared_bytes,
              Stream stream, const Args&... args) {
  if (shared_bytes > 48 << 10)
    if (const cudaError_t e = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   shared_bytes);
        e != cudaSuccess)
      return {static_cast<int>(e), what};
  cudaLaunchAttribute early = {};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                        static_cast<unsigned>(grid.z));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = overlaps() ? 1 : 0;
  return {static_cast<int>(cudaLaunchKernelEx(&config, kernel, Params(args)...)), what};
}

#else

inline int shared_bytes_max() { return 227 << 10; }
inline int streaming_sms() { return 5; }
inline bool has_wgmma() { return true; }

template <class... Params, class... Args>
Status launch(const char*, void (*kernel)(Params...), Grid grid, int threads, int shared_bytes,
              Stream, const Args&... args) {
  simt::Machine::get().run({grid.x, grid.y, grid.z}, threads,
                           static_cast<std::size_t>(shared_bytes), simt::Order::scattered,
                           [&] { kernel(args...); });
  return {};
}

#endif

}  // namespace lares::kernels::cuda::inline LARES_SIDE
