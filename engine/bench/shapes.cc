#include "engine/bench/shapes.h"

namespace lares::engine::bench {
namespace {

Config family() {
  Config c;
  c.model_type = "deepseek_v4";
  c.vocab_size = 129280;
  c.head_dim = 512;
  c.qk_rope_head_dim = 64;
  c.o_lora_rank = 1024;
  c.sliding_window = 128;
  c.index_n_heads = 64;
  c.hc_mult = 4;
  c.hc_sinkhorn_iters = 20;
  c.num_experts_per_tok = 6;
  c.swiglu_limit = 10;
  c.max_position_embeddings = 1048576;
  c.rope_factor = 16;
  c.rope_original_len = 65536;
  return c;
}

// `first` twice, then CSA and HCA in turn, CSA last.
std::vector<int> ratios(int first, int n_layers) {
  std::vector<int> out{first, first};
  while (static_cast<int>(out.size()) < n_layers) out.push_back(out.size() % 2 == 0 ? 4 : 128);
  return out;
}

Config flash() {
  Config c = family();
  c.hidden_size = 4096;
  c.num_hidden_layers = 43;
  c.num_attention_heads = 64;
  c.q_lora_rank = 1024;
  c.o_groups = 8;
  c.index_topk = 512;
  c.n_routed_experts = 256;
  c.moe_intermediate_size = 2048;
  c.routed_scaling_factor = 1.5f;
  c.compress_ratios = ratios(0, c.num_hidden_layers);
  return c;
}

Config pro() {
  Config c = family();
  c.hidden_size = 7168;
  c.num_hidden_layers = 61;
  c.num_attention_heads = 128;
  c.q_lora_rank = 1536;
  c.o_groups = 16;
  c.index_topk = 1024;
  c.n_routed_experts = 384;
  c.moe_intermediate_size = 3072;
  c.routed_scaling_factor = 2.5f;
  c.compress_ratios = ratios(128, c.num_hidden_layers);
  return c;
}

// The model that comes with Lares.
Config nano() {
  Config c = family();
  c.vocab_size = 1280;
  c.hidden_size = 256;
  c.num_hidden_layers = 6;
  c.num_attention_heads = 4;
  c.head_dim = 128;
  c.q_lora_rank = 256;
  c.o_groups = 2;
  c.o_lora_rank = 128;
  c.sliding_window = 256;
  c.index_n_heads = 2;
  c.index_topk = 32;
  c.n_routed_experts = 8;
  c.num_experts_per_tok = 2;
  c.moe_intermediate_size = 128;
  c.routed_scaling_factor = 1.5f;
  c.compress_ratios = {0, 4, 128, 4, 128, 4};
  return c;
}

}  // namespace

std::optional<Config> shape_named(std::string_view name) {
  if (name == "flash") return flash();
  if (name == "pro") return pro();
  if (name == "nano") return nano();
  return std::nullopt;
}

}  // namespace lares::engine::bench
