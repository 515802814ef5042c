// The router and the experts. Everything that depends on the routes is decided on the device, so
// that a decode step is one graph. Every (token, rank) is a slot; slots of one expert lie together,
// in order of tokens, experts ascending; the shared expert's slots, one a token, come last: slot
// n_tokens k + t. Source: DeepSeek-V4 inference/model.py, Gate, Expert and MoE. Floor: the chosen
// experts' bytes once.
#pragma once

#include "kernels/cuda/products/linear.h"

namespace lares::kernels::cuda {

inline constexpr int kExpertsMax = 512, kExpertRanksMax = 16;

// score = sqrt(softplus(u)); the k best of score + bias, ties to the lower expert, or the ids that
// belong to the token.
struct RouteArgs {
  const float* u;              // [n_tokens, n_experts]
  const float* bias;           // [n_experts], or null with `given`
  const std::int64_t* given;   // [vocabulary, k], or null
  const std::int32_t* tokens;  // [n_tokens], with `given`
  std::int32_t* expert;        // [n_tokens, k] out
  float* weight;               // [n_tokens, k] out
  int n_tokens, n_experts, k;
  float factor;
};
Status route(const RouteArgs& a, Stream stream);

struct GroupArgs {
  const std::int32_t* expert;  // [n_tokens, k]
  const float* weight;         // [n_tokens, k]
  std::int32_t* begin;         // [n_experts + 1] out: each expert's first slot
  std::int32_t* slot_of;       // [n_tokens, k] out
  std::int32_t* token_of;      // [n_tokens (k + 1)] out, shared slots too
  float* factor;               // [n_tokens (k + 1)] out: the route's weight, 1 for shared slots
  std::int32_t* jobs;  // [expert_jobs(), 3] out: expert, first slot, slots; those left over have 0
                       // slots
  int n_tokens, n_experts, k;
};
// Runs of slots of one expert that are multiplied together: at most so many for any routes. Few
// tokens: one for each expert that is used.
inline constexpr int kExpertRun = 128;  // slots
constexpr int expert_jobs(int n_tokens, int n_experts, int k) {
  const int slots = n_tokens * k, most = slots < n_experts ? slots : n_experts;
  return most + slots / kExpertRun;
}
Status group(const GroupArgs& a, Stream stream);
// Both in one launch, of at most kTokensFew tokens.
Status route_and_group(const RouteArgs& a, const GroupArgs& b, Stream stream);

// One of the experts' matrices.
struct ExpertMatrix {
  // [n_experts], device memory; null: elsewhere, and its slots are left alone
  const std::uint8_t* const* tiles = nullptr;
  const float* const* scale = nullptr;  // [n_experts], fp8
  Weight shared;                        // tiles null: without the shared expert
  void* y = nullptr;                    // [n_tokens (k + 1), y_stride] bf16
};
struct ExpertLinearArgs {
  ExpertMatrix matrix[2];  // w1 and w3, or w2
  int n_matrices = 1;
  Format format = Format::fp4;  // of routed experts
  int n_out = 0, n_in = 0;
  const bf16* x = nullptr;  // [rows, x_stride], and the same choice as in LinearArgs
  const std::uint8_t* codes = nullptr;
  const float* code_scale = nullptr;
  std::int64_t x_stride = 0, code_scale_stride = 0, y_stride = 0;
  bool quantise = false;  // as in LinearArgs; of many tokens of what is made of x and up
  std::uint8_t* quantised = nullptr;
  float* quantised_scale = nullptr;
  bool wgmma = true;  // as in LinearArgs
  // As in LinearArgs: with row_of linear_room() bytes, without experts_room()
  void* room = nullptr;
  const bf16* up = nullptr;  // quantise: of SwigluArgs' h of x and up, row by row
  const float* factor = nullptr;
  float limit = 0;
  // [slots] which row of x a slot multiplies (token_of); null: its own
  const std::int32_t* row_of = nullptr;
  const std::int32_t* jobs = nullptr;  // from group()
  bool laid = false;  // quantise, many tokens: the last launch with this room, or without wgmma
                      // with `quantised`, had the same rows
  bool jobs_known = false;  // the launch before this one does not make them: they may be read
                            // before it ends
  int n_tokens = 0, n_experts = 0, k = 0;
  HyperMixes mixes{};  // few tokens: as linear()'s
};
Status experts_linear(const ExpertLinearArgs& a, Stream stream, const Scratch& scratch = {});
// Where slots have rows of their own: every run of them begins at a multiple of eight.
constexpr std::size_t experts_room(int n_tokens, int n_experts, int k, int n_in) {
  return linear_room(static_cast<std::size_t>(n_tokens) * static_cast<std::size_t>(k + 1) +
                         8 * static_cast<std::size_t>(expert_jobs(n_tokens, n_experts, k)) + 8,
                     static_cast<std::size_t>(n_in));
}

// h = silu(min(gate, limit)) clamp(up, -limit, limit) factor, rounded to bf16; then Q8_128 where
// codes are asked for.
struct SwigluArgs {
  const bf16* gate;  // [n_rows, stride]
  const bf16* up;
  const float* factor;  // [n_rows]
  bf16* h;              // [n_rows, stride], may be gate; or null
  std::uint8_t* codes;  // [n_rows, stride], or null
  float* code_scale;    // [n_rows, scale_stride]
  std::int64_t stride, scale_stride;
  int n_rows, n;  // n a multiple of 8
  float limit;    // 0: none
};
Status swiglu(const SwigluArgs& a, Stream stream);

// y[t] = bf16(sum over ranks ascending of out[slot_of[t, i]], then the shared slot's), f32.
struct CombineArgs {
  const bf16* out;              // [n_tokens (k + 1), stride]
  const std::int32_t* slot_of;  // [n_tokens, k]
  bf16* y;                      // [n_tokens, dim]
  std::int64_t stride;
  int n_tokens, k, dim;  // dim a multiple of 8
};
Status combine(const CombineArgs& a, Stream stream);

}  // namespace lares::kernels::cuda
