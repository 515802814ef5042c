// Queries of the indexer, their scores with every key, and the best keys: kernels/indexer.h on the
// device, bit for bit. Sums of products of codes are exact in an mma; scales, rounding and the
// order of heads are the CPU's. Source: DeepSeek-V4 inference/model.py, Indexer. Floor: 68 bytes a
// key once; 2 n_heads dim flops a key and token.
#pragma once

#include "kernels/cuda/places.h"

namespace lares::kernels::cuda {

inline constexpr int kIndexDim = 128;
inline constexpr int kIndexHeadsMax = 64;

struct IndexQueryArgs {
  const bf16* q;       // [n_tokens, n_heads, 128] the projection
  const bf16* w;       // [n_tokens, n_heads] weights_proj's product
  const double* rope;  // [n_tokens, rope_dim / 2, 2]
  // [n_tokens, n_heads, 128] out: twice the e2m1 values, as f16; where a head's groups have nearly
  // the same scale, multiplied so that they have the same (exponents_level())
  std::uint16_t* codes;
  float* scale;   // [n_tokens, n_heads, 4] out: of a group's codes
  float* weight;  // [n_tokens, n_heads] out: bf16(w * weight_scale)
  int n_tokens, n_heads, rope_dim;
  float weight_scale;  // dim^-1/2 n_heads^-1/2
};
Status index_queries(const IndexQueryArgs& a, Stream stream);

struct IndexScoreArgs {
  const std::uint16_t* codes;  // as above
  const float* scale;
  const float* weight;
  Places places;
  PageCells keys;  // index_key_bytes(128) each
  float* score;    // [n_tokens, score_stride] out: of keys j < (position + 1) / 4
  std::int64_t score_stride;
  int n_heads;
  int n_keys_max;  // no token sees more; the launch's size
};
Status index_scores(const IndexScoreArgs& a, Stream stream);

struct TopKArgs {
  const float* score;  // [n_tokens, score_stride], bf16 values as index_scores() makes them
  std::int64_t score_stride;
  Places places;  // token t sees n = (position + 1) / ratio
  // [n_tokens, k] out, ascending: the min(k, n) best under (score descending, index ascending)
  std::int32_t* chosen;
  std::uint32_t* bins;     // [n_tokens, kTopKBins]: zero before the first use, and left zero
  std::uint32_t* scratch;  // top_k_scratch() words
  int ratio, k;            // k at most kTopKMax
  int n_max;               // no token sees more; the launch's size
};
inline constexpr int kTopKMax = 2048, kTopKBins = 2048;
std::size_t top_k_scratch(int n_tokens, int n_max);
Status top_k(const TopKArgs& a, Stream stream);

}  // namespace lares::kernels::cuda
