// The buffers of a chunk on one GPU, one behind the other in one allocation. Attention's and the
// experts' lie over each other, for they are never in use at the same time. Laid from nothing, the
// pointers are of no use and the size is the plan's.
#pragma once

#include <cstdint>

#include "engine/model/checkpoint/config.h"
#include "kernels/cuda/places.h"

namespace lares::engine::cuda {

using kernels::cuda::bf16;

inline constexpr int kPartsMax = 64;  // sequences evaluated together
inline constexpr int kRowsMax = 64;   // tokens that logits are computed for at once
// Up to which a sequence's own rings are read and written, and a step is one graph
inline constexpr int kStepTokens = 64;
// Tokens; launches are sized for powers of two of them, of which this is the first
inline constexpr std::int64_t kReachLeast = 1024;
inline constexpr int kScoredMax = 2048;  // tokens that are chosen for together, at most
// Index scores of the tokens that are chosen for together
inline constexpr std::uint64_t kScoresBytes = 256ull << 20;
// Attention's blocks of the tokens that attend together
inline constexpr std::uint64_t kPartialsBytes = 256ull << 20;

// What goes from one GPU to the next behind a layer: all that the next boundary between sub-layers
// folds in. One behind the other, so that it leaves in one copy and comes in one; by way of pinned
// host memory, so the GPUs need no access to each other's.
struct HandOver {
  bf16 *streams, *y;   // [n, S, D], [n, D]: y is what the last sub-layer gave
  float *post, *comb;  // [n, S], [n, S, S]
  std::uint64_t bytes;
};
// Of n tokens, from `base` on.
HandOver hand_over(const Config& c, int n, std::uint8_t* base);

struct WorkSpace {
  // What the host writes for a step, in one copy.
  std::uint8_t* inputs = nullptr;
  std::uint64_t inputs_bytes = 0;

  bf16* rows;               // [n, D]
  std::uint8_t* hand_over;  // HandOver::bytes, laid for as many tokens as a step has
  bf16* normed;             // [n, D]
  float* partial;           // hyper_partials()
  std::uint32_t* arrived;   // of the blocks of a token's boundary: zero, and left zero
  std::uint8_t* codes;      // [n, D] Q8_128 of normed
  float* code_scale;        // [n, ceil(D / 128)]
  double* rope[2];          // [n, R / 2, 2] window layers', compressed layers'
  float* logits;            // [kRowsMax, V]

  // Attention. Of q and o one is always free for codes that enter a product of many tokens
  // (kernels/cuda/products/linear.h's room): before attention o, behind it q.
  bf16 *qr, *q, *kv, *o, *z;  // [n, Q], [n, H C], [n, C], [n, H C], [n, G A]
  std::uint8_t *qr_codes, *z_codes;
  float *qr_scale, *z_scale;
  float *values, *gates, *index_values, *index_gates;  // [n, width]
  bf16 *iq, *iw;                                       // [n, Hi, Ci], [n, Hi]
  std::uint16_t* index_codes;                          // [n, Hi, Ci]
  float *index_scale, *index_weight;                   // [n, Hi, 4], [n, Hi]
  std::int32_t* chosen;                                // [n, K]
  float* scores;         // kScoresBytes, or one token's if that is more
  float* partials;       // kPartialsBytes, or one token's
  std::uint8_t* window;  // [n + W] cells of a chunk longer than kStepTokens

  // Experts. Slots: n (k + 1). What enters w1 and w3, and then what enters w2, has room in
  // `h_codes`: results stay alone, for what passes through the GPU is multiplied behind what is on
  // it.
  float* u;  // [n, E]
  std::int32_t *expert, *slot_of, *token_of, *begin, *jobs;
  float *weight, *factor;
  bf16 *gate, *up, *out;  // [slots, I], [slots, I], [slots, D]
  std::uint8_t* h_codes;
  float* h_scale;

  // Of draft blocks alone: what enters their projections, MTP's streams after their norm, or
  // DSpark's kept rows; and what the head read, before its norm.
  bf16* front;  // [n, front_width()]
  std::uint8_t *front_codes, *front_room;
  float* front_scale;  // [n, front_width() / D, ceil(D / 128)], or [n, ceil(front_width() / 128)]
  bf16* entered;       // [kRowsMax, D]
};

// Values of a token that enter draft blocks.
std::int64_t front_width(const Config& c);

// All of it from `base` on; returns the bytes it takes. n_context: the longest sequence. draft: of
// draft blocks.
std::uint64_t lay(WorkSpace& w, const Config& c, int chunk, std::int64_t n_context,
                  std::uint8_t* base, bool draft = false);

// What a step of n tokens brings from the host: embedding rows where layer 0 is, else what the GPU
// before hands on.
std::uint64_t entry_bytes(const Config& c, int n, bool first);

// Tokens whose scores of n_keys keys, or whose attention of n_entries entries, have room together;
// 1 at least, kScoredMax at most.
int tokens_scored(std::int64_t n_keys);
int tokens_attending(const Config& c, std::int64_t n_entries);

}  // namespace lares::engine::cuda
