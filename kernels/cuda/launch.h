// Launching a kernel from a .cu file: shared memory beyond 48 KB asked for, errors as results.
// Where a device can (sm_90), a launch may begin before the one before it has ended; every kernel
// calls wait_for_inputs() (simt.h). Without nvcc a launch is its body's emulation, at once, or as
// those of a device overlap (simt_overlap.h).
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif

#include "kernels/cuda/device.h"
#include "kernels/cuda/shared_split.h"
#include "kernels/cuda/simt/simt.h"
#ifndef __CUDACC__
#include "kernels/cuda/simt/simt_overlap.h"
#endif

namespace lares::kernels::cuda::inline LARES_SIDE {

constexpr Status refused(const char* why) { return {Status::kRefused, why}; }

struct Grid {
  int x = 1, y = 1, z = 1;
  int cluster = 1;  // blocks along x that make one (cluster.h), up to 16
};

#ifdef __CUDACC__

inline constexpr int kClusterPortable = 8;  // blocks of a cluster that need not be asked for

// Whether the current device begins launches early, and has code that waits for the one before:
// that of sm_90a. Newer ones run what was made for sm_80.
inline bool overlaps() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major == 9;
}

inline int current_device() {
  int device = 0;
  return cudaGetDevice(&device) == cudaSuccess ? device : -1;
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

// Asks for what a kernel needs beyond what every kernel may have: of shared memory all there is,
// for a recorded launch may need more of it than a later one of the same kernel.
inline cudaError_t allow(const void* kernel, Grid grid, int shared_bytes) {
  if (shared_bytes > 48 << 10)
    if (const cudaError_t e = cudaFuncSetAttribute(
            kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes_max());
        e != cudaSuccess)
      return e;
  if (const SharedSplit split = shared_split(); split != SharedSplit::unasked)
    if (const cudaError_t e = cudaFuncSetAttribute(
            kernel, cudaFuncAttributePreferredSharedMemoryCarveout, static_cast<int>(split));
        e != cudaSuccess)
      return e;
  return grid.cluster > kClusterPortable
             ? cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1)
             : cudaSuccess;
}
inline cudaLaunchConfig_t launch_config(Grid grid, int threads, int shared_bytes) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                        static_cast<unsigned>(grid.z));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  return config;
}
inline cudaLaunchAttribute cluster_attribute(Grid grid) {
  cudaLaunchAttribute cluster = {};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = static_cast<unsigned>(grid.cluster);
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  return cluster;
}

// Whether the current device can hold a cluster of this kernel's blocks.
template <class... Params>
bool cluster_fits(void (*kernel)(Params...), Grid grid, int threads, int shared_bytes) {
  if (!overlaps()) return false;
  const void* const function = reinterpret_cast<const void*>(kernel);
  cudaLaunchAttribute cluster = cluster_attribute(grid);
  cudaLaunchConfig_t config = launch_config(grid, threads, shared_bytes);
  config.attrs = &cluster;
  config.numAttrs = 1;
  int n = 0;
  const bool fits = allow(function, grid, shared_bytes) == cudaSuccess &&
                    cudaOccupancyMaxActiveClusters(&n, function, &config) == cudaSuccess && n > 0;
  if (!fits) cudaGetLastError();  // an answer, and no error of the next launch
  return fits;
}

template <class... Params, class... Args>
Status launch(const char* what, void (*kernel)(Params...), Grid grid, int threads, int shared_bytes,
              Stream stream, const Args&... args) {
  if (const cudaError_t e = allow(reinterpret_cast<const void*>(kernel), grid, shared_bytes);
      e != cudaSuccess)
    return {static_cast<int>(e), what};
  cudaLaunchAttribute attributes[2] = {};
  unsigned n = 0;
  if (overlaps()) {
    attributes[n].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[n++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (grid.cluster > 1) attributes[n++] = cluster_attribute(grid);
  cudaLaunchConfig_t config = launch_config(grid, threads, shared_bytes);
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = n;
  return {static_cast<int>(cudaLaunchKernelEx(&config, kernel, Params(args)...)), what};
}

#else

inline int current_device() { return 0; }
inline int shared_bytes_max() { return 227 << 10; }
inline int streaming_sms() { return 5; }
inline bool has_wgmma() { return true; }

template <class... Params>
bool cluster_fits(void (*)(Params...), Grid, int, int shared_bytes) {
  return shared_bytes <= shared_bytes_max();
}

template <class... Params, class... Args>
Status launch(const char*, void (*kernel)(Params...), Grid grid, int threads, int shared_bytes,
              Stream, const Args&... args) {
  simt::Launch launch{
      {grid.x, grid.y, grid.z}, threads, static_cast<std::size_t>(shared_bytes), grid.cluster, [=] {
        kernel(args...);
      }};
  if (simt::Overlap* const overlap = simt::Overlap::current())
    overlap->launch(std::move(launch));
  else
    simt::Machine::get().run(launch, simt::Order::scattered);
  return {};
}

#endif

}  // namespace lares::kernels::cuda::inline LARES_SIDE
