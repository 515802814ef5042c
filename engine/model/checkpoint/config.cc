#include "engine/model/checkpoint/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/model/memory/pages.h"
#include "kernels/indexer.h"

namespace lares::engine {
namespace {

// Reads keys of one JSON object; the first thing that is wrong is kept and said once.
class Reader {
 public:
  Reader(const nlohmann::json& object, std::string path)
      : object_(object), path_(std::move(path)) {}

  int whole(const char* key, int lowest, int highest, int fallback = -1) {
    const auto at = object_.find(key);
    if (at == object_.end() || at->is_null()) {
      if (fallback >= 0) return fallback;
      fail(Errc::malformed, fmt::format("{} is missing", key));
      return lowest;
    }
    if (!at->is_number_integer() || at->get<double>() < lowest || at->get<double>() > highest) {
      fail(Errc::unsupported, fmt::format("{} is {:.40}, expected a whole number from {} to {}",
                                          key, at->dump(), lowest, highest));
      return lowest;
    }
    return at->get<int>();
  }
  // Without a fallback: what is missing would change the logits, so nothing is assumed.
  double number(const char* key, double lowest, double highest,
                std::optional<double> fallback = {}) {
    const auto at = object_.find(key);
    if (at == object_.end() || at->is_null()) {
      if (!fallback) fail(Errc::malformed, fmt::format("{} is missing", key));
      return fallback.value_or(lowest);
    }
    if (!at->is_number() || !(at->get<double>() >= lowest && at->get<double>() <= highest)) {
      fail(Errc::unsupported, fmt::format("{} is {:.40}, expected a number from {} to {}", key,
                                          at->dump(), lowest, highest));
      return lowest;
    }
    return at->get<double>();
  }
  void text(const char* key, std::string_view expected) {
    const auto at = object_.find(key);
    if (at == object_.end() || at->is_null()) return;
    if (!at->is_string() || at->get_ref<const std::string&>() != expected)
      fail(Errc::unsupported,
           fmt::format("{} is {:.60}, this engine runs \"{}\"", key, at->dump(), expected));
  }
  void not_set(const char* key) {
    if (const auto at = object_.find(key); at != object_.end() && !at->is_null() && *at != false)
      fail(Errc::unsupported,
           fmt::format(
               "{} is {:.60}, which no release of the family has and this engine does not run", key,
               at->dump()));
  }
  void fail(Errc code, std::string why) {
    if (!error_.message.empty()) return;
    error_ = {code, fmt::format("read {}: {}", path_, why)};
  }
  const Error& error() const { return error_; }

 private:
  const nlohmann::json& object_;
  std::string path_;
  Error error_{Errc::malformed, {}};
};

void read_dspark(const nlohmann::json& json, Config& c, Reader& r) {
  c.dspark_block_size = r.whole("dspark_block_size", 1, kDsparkBlockMax);
  c.dspark_markov_rank = r.whole("dspark_markov_rank", 32, 1 << 16);
  c.dspark_noise_token_id = r.whole("dspark_noise_token_id", 0, c.vocab_size - 1);
  const auto targets = json.find("dspark_target_layer_ids");
  const auto fits = [&](const nlohmann::json& t, int above) {
    return t.is_number_integer() && t.get<double>() > above &&
           t.get<double>() < c.num_hidden_layers;
  };
  if (targets == json.end() || !targets->is_array() || targets->empty() ||
      targets->size() > kDsparkTargetsMax)
    return r.fail(Errc::malformed, fmt::format("dspark_target_layer_ids must name 1 to {} layers",
                                               kDsparkTargetsMax));
  for (const auto& target : *targets) {
    if (!fits(target, c.dspark_target_layer_ids.empty() ? -1 : c.dspark_target_layer_ids.back()))
      return r.fail(
          Errc::unsupported,
          fmt::format(
              "dspark_target_layer_ids is {:.60}, expected layers from 0 to {} in ascending order",
              targets->dump(), c.num_hidden_layers - 1));
    c.dspark_target_layer_ids.push_back(target.get<int>());
  }
}

void check_shapes(const Config& c, Reader& r) {
  const auto multiple = [&](const char* what, int value, int of) {
    if (value % of != 0)
      r.fail(Errc::unsupported,
             fmt::format("{} is {}, this engine needs a multiple of {}", what, value, of));
  };
  multiple("hidden_size", c.hidden_size, 128);
  multiple("q_lora_rank", c.q_lora_rank, 128);
  multiple("moe_intermediate_size", c.moe_intermediate_size, 128);
  multiple("o_groups * o_lora_rank", c.o_groups * c.o_lora_rank, 128);
  multiple("head_dim", c.head_dim, 32);
  multiple("index_head_dim", c.index_head_dim, 32);
  multiple("qk_rope_head_dim", c.qk_rope_head_dim, 2);
  multiple("dspark_markov_rank", c.dspark_markov_rank, 32);
  if (c.qk_rope_head_dim > c.head_dim || c.qk_rope_head_dim > c.index_head_dim)
    r.fail(Errc::unsupported,
           fmt::format("qk_rope_head_dim {} exceeds head_dim {} or index_head_dim {}",
                       c.qk_rope_head_dim, c.head_dim, c.index_head_dim));
  multiple("head_dim - qk_rope_head_dim", c.head_dim - c.qk_rope_head_dim, 64);
  if ((c.index_head_dim & (c.index_head_dim - 1)) != 0)
    r.fail(Errc::unsupported,
           fmt::format("index_head_dim is {}, the Hadamard transform needs a power of two",
                       c.index_head_dim));
  if (c.num_attention_heads % c.o_groups != 0)
    r.fail(Errc::unsupported, fmt::format("{} heads do not divide into {} o_groups",
                                          c.num_attention_heads, c.o_groups));
  for (std::size_t i = c.num_hidden_layers; i < c.compress_ratios.size(); ++i)
    if (c.compress_ratios[i] != 0)
      r.fail(Errc::unsupported,
             fmt::format("compress_ratios gives draft block {} the ratio {}, all releases give 0",
                         i - c.num_hidden_layers, c.compress_ratios[i]));
  if (page_tokens(c.compress_ratios) == 0)
    r.fail(
        Errc::unsupported,
        fmt::format(
            "compress_ratios have no common multiple within {}, the longest page this engine keeps",
            kPageTokensMax));
  if (c.num_experts_per_tok > c.n_routed_experts)
    r.fail(Errc::malformed, fmt::format("num_experts_per_tok {} exceeds n_routed_experts {}",
                                        c.num_experts_per_tok, c.n_routed_experts));
}

}  // namespace

Result<Config> parse_config(const std::string& text, const std::string& path) {
  if (std::count(text.begin(), text.end(), '[') + std::count(text.begin(), text.end(), '{') > 10000)
    return tl::unexpected(
        Error{Errc::malformed, fmt::format("read {}: not a plausible config.json", path)});
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return tl::unexpected(Error{Errc::malformed, fmt::format("read {}: not a JSON object", path)});
  Reader r(json, path);
  Config c;
  const auto type = json.find("model_type");
  if (type == json.end() || !type->is_string())
    return tl::unexpected(Error{
        Errc::malformed,
        fmt::format(
            "read {}: model_type is {}; a checkpoint of this family has \"deepseek_v4\" there",
            path, type == json.end() ? "missing" : fmt::format("{:.60}", type->dump()))});
  c.model_type = type->get<std::string>();
  if (c.model_type != "deepseek_v4")
    return tl::unexpected(
        Error{Errc::unsupported,
              fmt::format("read {}: model_type is \"{:.60}\", this engine runs \"deepseek_v4\"",
                          path, c.model_type)});
  r.text("hidden_act", "silu");
  r.text("scoring_func", "sqrtsoftplus");
  r.text("topk_method", "noaux_tc");
  c.vocab_size = r.whole("vocab_size", 2, 1 << 24);
  c.hidden_size = r.whole("hidden_size", 128, 1 << 17);
  c.num_hidden_layers = r.whole("num_hidden_layers", 1, 1024);
  c.num_attention_heads = r.whole("num_attention_heads", 1, 4096);
  r.whole("num_key_value_heads", 1, 1, 1);
  c.head_dim = r.whole("head_dim", 32, 8192);
  c.qk_rope_head_dim = r.whole("qk_rope_head_dim", 2, 8192);
  c.q_lora_rank = r.whole("q_lora_rank", 32, 1 << 17);
  c.o_groups = r.whole("o_groups", 1, 4096);
  c.o_lora_rank = r.whole("o_lora_rank", 1, 1 << 16);
  c.sliding_window = r.whole("sliding_window", 1, 1 << 16);
  c.hc_mult = r.whole("hc_mult", 1, 8);
  c.hc_sinkhorn_iters = r.whole("hc_sinkhorn_iters", 1, 1000);
  c.hc_eps = static_cast<float>(r.number("hc_eps", 0, 1, 1e-6));
  c.rms_norm_eps = static_cast<float>(r.number("rms_norm_eps", 0, 1, 1e-6));
  c.n_routed_experts = r.whole("n_routed_experts", 1, 1 << 16);
  r.whole("n_shared_experts", 1, 1, 1);
  c.num_experts_per_tok = r.whole("num_experts_per_tok", 1, 256);
  c.moe_intermediate_size = r.whole("moe_intermediate_size", 32, 1 << 17);
  c.num_hash_layers = r.whole("num_hash_layers", 0, 1024);
  c.routed_scaling_factor = static_cast<float>(r.number("routed_scaling_factor", 0, 1e6));
  c.swiglu_limit = static_cast<float>(r.number("swiglu_limit", 0, 1e6));
  c.num_nextn_predict_layers = r.whole("num_nextn_predict_layers", 0, 64, 0);
  c.max_position_embeddings = r.whole("max_position_embeddings", 1, 1 << 30, 1048576);
  c.rope_theta = r.number("rope_theta", 1.001, 1e12);
  c.compress_rope_theta = r.number("compress_rope_theta", 1.001, 1e12);
  c.index_n_heads = r.whole("index_n_heads", 1, 4096);
  c.index_head_dim = r.whole("index_head_dim", 32, kernels::kIndexDimMax, 128);
  c.index_topk = r.whole("index_topk", 1, 1 << 24);
  if (json.contains("dspark_block_size")) read_dspark(json, c, r);
  if (const auto norm = json.find("norm_topk_prob"); norm != json.end() && *norm != true)
    r.fail(Errc::unsupported, "norm_topk_prob is not true, which no release of the family uses");
  for (const char* const key : {"attention_bias", "tie_word_embeddings"}) r.not_set(key);
  if (const auto quantisation = json.find("quantization_config");
      quantisation != json.end() && quantisation->is_object()) {
    Reader q(*quantisation, path + " quantization_config");
    q.text("quant_method", "fp8");
    q.text("fmt", "e4m3");
    if (const auto block = quantisation->find("weight_block_size");
        block != quantisation->end() && *block != nlohmann::json{128, 128})
      q.fail(Errc::unsupported,
             fmt::format("weight_block_size is {:.60}, this engine runs [128,128]", block->dump()));
    if (!q.error().message.empty()) return tl::unexpected(q.error());
  }
  if (const auto experts = json.find("expert_dtype"); experts != json.end() &&
                                                      !experts->is_null() && *experts != "fp4" &&
                                                      *experts != "fp8" && *experts != "bf16")
    r.fail(Errc::unsupported,
           fmt::format("expert_dtype is {:.60}, this engine runs \"fp4\", \"fp8\" and \"bf16\"",
                       experts->dump()));
  if (const auto scaling = json.find("rope_scaling"); scaling == json.end() || scaling->is_null()) {
    r.fail(Errc::malformed, json.contains("rope_parameters")
                                ? "rope_scaling is missing; rope_parameters, its newer name "
                                  "elsewhere, is not read: take config.json as it was released"
                                : "rope_scaling is missing");
  } else {
    if (!scaling->is_object()) {
      r.fail(Errc::malformed, "rope_scaling is not an object");
    } else {
      Reader s(*scaling, path + " rope_scaling");
      s.text("type", "yarn");
      s.text("rope_type", "yarn");
      c.rope_factor = s.number("factor", 1, 1e6);
      c.rope_beta_fast = s.number("beta_fast", 1e-3, 1e6, 32);
      c.rope_beta_slow = s.number("beta_slow", 1e-3, 1e6, 1);
      c.rope_original_len = s.number("original_max_position_embeddings", 0, 1e12);
      if (!s.error().message.empty()) return tl::unexpected(s.error());
    }
  }
  const auto ratios = json.find("compress_ratios");
  if (ratios == json.end() || !ratios->is_array() ||
      static_cast<int>(ratios->size()) < c.num_hidden_layers || ratios->size() > 2048) {
    r.fail(Errc::malformed,
           fmt::format("compress_ratios must have one entry for each of the {} layers",
                       c.num_hidden_layers));
  } else {
    for (const auto& ratio : *ratios) {
      if (!ratio.is_number_integer() || ratio.get<double>() < 0 || ratio.get<double>() > 1024) {
        r.fail(Errc::unsupported,
               fmt::format("a compress_ratio is {:.40}, expected 0 to 1024", ratio.dump()));
        break;
      }
      c.compress_ratios.push_back(ratio.get<int>());
    }
  }
  if (r.error().message.empty()) check_shapes(c, r);
  if (!r.error().message.empty()) return tl::unexpected(r.error());
  return c;
}

}  // namespace lares::engine
