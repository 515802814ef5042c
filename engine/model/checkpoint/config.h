// config.json as typed numbers: every shape of the DeepSeek-V4 family, checked for what the engine
// can run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

inline constexpr std::size_t kConfigBytesMax = 4u << 20;
inline constexpr int kDsparkBlockMax = 64;  // tokens
inline constexpr std::size_t kDsparkTargetsMax = 16;

struct Config {
  std::string model_type;
  int vocab_size = 0, hidden_size = 0, num_hidden_layers = 0;
  int num_attention_heads = 0, head_dim = 0, qk_rope_head_dim = 0, q_lora_rank = 0, o_groups = 0,
      o_lora_rank = 0;
  int sliding_window = 0;
  // One per layer, then one per draft block; 0 where config.json has no entry
  std::vector<int> compress_ratios;
  int index_n_heads = 0, index_head_dim = 128, index_topk = 0;
  int hc_mult = 0, hc_sinkhorn_iters = 0;
  float hc_eps = 1e-6f, rms_norm_eps = 1e-6f;
  int n_routed_experts = 0, num_experts_per_tok = 0, moe_intermediate_size = 0, num_hash_layers = 0;
  float routed_scaling_factor = 1, swiglu_limit = 0;
  int num_nextn_predict_layers = 0;
  std::int64_t max_position_embeddings = 0;
  double rope_theta = 10000, compress_rope_theta = 160000;
  // original_len 0: no YaRN
  double rope_factor = 1, rope_beta_fast = 32, rope_beta_slow = 1, rope_original_len = 0;
  // DSpark, which drafts blocks; dspark_block_size 0: none.
  int dspark_block_size = 0, dspark_markov_rank = 0, dspark_noise_token_id = 0;
  std::vector<int> dspark_target_layer_ids;  // ascending

  int ratio(int layer) const {
    return layer < static_cast<int>(compress_ratios.size()) ? compress_ratios[layer] : 0;
  }
  bool hashed(int layer) const { return layer < num_hash_layers; }
  // "SWA", "CSA" (overlapping compressor and indexer) or "HCA" (compressor, every entry attended).
  const char* kind(int layer) const {
    return ratio(layer) == 0 ? "SWA" : ratio(layer) == 4 ? "CSA" : "HCA";
  }
};

Result<Config> parse_config(const std::string& text, const std::string& path);

}  // namespace lares::engine
