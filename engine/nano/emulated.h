// kernels.cu on the CPU, a fiber a thread, for tests where there is no GPU: compile as C++ with
// -DNANO_EMULATED -include this.
#pragma once
#include <cmath>

#include "simt_host.h"

#define __device__ static
#define __global__ static
using Stream = void*;
using Machine = lares::kernels::cuda::simt::Machine;

struct float4 {
  float x, y, z, w;
};
struct Index {
  int (*get)();
  operator int() const { return get(); }
};
inline struct {
  Index x{[] { return Machine::get().thread(); }};
} threadIdx;
inline struct {
  Index x{[] { return Machine::get().block().x; }};
} blockIdx;
inline struct {
  Index x{[] { return Machine::get().grid().x; }};
} gridDim;

inline float __shfl_xor_sync(unsigned, float v, int lanes) {
  std::uint32_t word;
  std::memcpy(&word, &v, 4);
  const auto* words = Machine::get().exchange(&word, 1);
  std::memcpy(&v, &words[(Machine::get().thread() % 32) ^ lanes][0], 4);
  return v;
}

inline unsigned __float_as_uint(float v) {
  unsigned u;
  std::memcpy(&u, &v, 4);
  return u;
}

#define LAUNCH(kernel, blocks, stream, ...)                   \
  Machine::get().run({static_cast<int>(blocks)}, kThreads, 0, \
                     lares::kernels::cuda::simt::Order::scattered, [&] { kernel(__VA_ARGS__); })
