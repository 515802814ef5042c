// The router's choice, and the expert's non-linearity.
//   route:  score = sqrt(softplus(u)); the k best of score + bias (ties to the lowest expert), or
//           the given ids; weight_i = score_i / sum * factor, in order of rank
//   swiglu: h = silu(min(gate, limit)) * clamp(up, -limit, limit) * weight
// Source: DeepSeek-V4 inference/model.py, Gate and Expert. Floor: u once; gate and up once in, h
// once out.
#pragma once

#include <cstdint>

namespace lares::kernels {

struct RouteArgs {
  const float* u;             // [n_experts]
  const float* bias;          // [n_experts], or null with `given`
  const std::int64_t* given;  // [k] ids from the hash table, or null
  std::int32_t* expert;       // [k] out
  float* weight;              // [k] out
  float* scratch;             // [n_experts]
  int n_experts, k;
  float factor;  // routed_scaling_factor
};
void route(const RouteArgs& a);

struct SwigluArgs {
  const float* gate;    // [n_rows, stride], the first n of each
  const float* up;      // as gate
  float* h;             // as gate, may be gate
  const float* weight;  // [n_rows], or null for 1
  std::int64_t stride;
  int n_rows, n;  // n a multiple of 8
  float limit;    // swiglu_limit; 0: none
  bool round_bf16;
};

}  // namespace lares::kernels
