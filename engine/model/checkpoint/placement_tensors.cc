#include "engine/model/checkpoint/placement_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/model/checkpoint/checkpoint.h"

namespace lares::engine {
namespace {

std::uint64_t blocks(int n) { return static_cast<std::uint64_t>((n + 127) / 128); }
std::uint64_t elements(int n_out, int n_in) {
  return static_cast<std::uint64_t>(n_out) * static_cast<std::uint64_t>(n_in);
}

// Writes down the release's tensors, by their names in its shards.
class Release {
 public:
  Release(const Config& config, std::string_view expert_dtype, ModelBytes& out)
      : c_(config), expert_dtype_(expert_dtype), out_(out) {}

  void all() {
    const int D = c_.hidden_size, S = c_.hc_mult;
    add("embed.weight", 2 * elements(c_.vocab_size, D));
    add("head.weight", 2 * elements(c_.vocab_size, D));
    add("norm.weight", 2 * static_cast<std::uint64_t>(D));
    hyper("hc_head", S, 1);
    for (int i = 0; i < c_.num_hidden_layers; ++i)
      layer(fmt::format("layers.{}.", i), i, c_.hashed(i));
    if (c_.dspark_block_size > 0) return;  // how many stages there are, only the shards say
    for (int k = 0; k < c_.num_nextn_predict_layers; ++k) {
      const std::string p = fmt::format("mtp.{}.", k);
      layer(p, c_.num_hidden_layers + k, false);
      fp8(p + "e_proj", D, D);
      fp8(p + "h_proj", D, D);
      for (const char* norm : {"enorm", "hnorm", "norm"})
        add(p + norm + ".weight", 2 * static_cast<std::uint64_t>(D));
      hyper(p + "hc_head", S, 1);
    }
  }

 private:
  void add(const std::string& name, std::uint64_t bytes) { add_tensor(out_, name, bytes); }
  void fp8(const std::string& name, int n_out, int n_in) {
    add(name + ".weight", elements(n_out, n_in));
    add(name + ".scale", blocks(n_out) * blocks(n_in));
  }
  void bf16(const std::string& name, int n_out, int n_in) {
    add(name + ".weight", 2 * elements(n_out, n_in));
  }
  void hyper(const std::string& prefix, int rows, int scales) {
    add(prefix + "_fn", 4 * elements(rows, c_.hc_mult * c_.hidden_size));
    add(prefix + "_base", 4 * static_cast<std::uint64_t>(rows));
    add(prefix + "_scale", 4 * static_cast<std::uint64_t>(scales));
  }
  void compressor(const std::string& p, int ratio, int dim) {
    const int width = ratio == 4 ? 2 * dim : dim;
    bf16(p + "wkv", width, c_.hidden_size);
    bf16(p + "wgate", width, c_.hidden_size);
    add(p + "ape", 4 * elements(ratio, width));
    add(p + "norm.weight", 2 * static_cast<std::uint64_t>(dim));
  }
  void routed(const std::string& name, int n_out, int n_in) {
    if (expert_dtype_ == "fp8") return fp8(name, n_out, n_in);
    if (expert_dtype_ == "bf16") return bf16(name, n_out, n_in);
    add(name + ".weight", elements(n_out, n_in) / 2);
    add(name + ".scale", elements(n_out, n_in) / 32);
  }
  void layer(const std::string& p, int index, bool hashed) {
    const int D = c_.hidden_size, H = c_.num_attention_heads, C = c_.head_dim, Q = c_.q_lora_rank,
              G = c_.o_groups, A = c_.o_lora_rank, S = c_.hc_mult, I = c_.moe_intermediate_size,
              E = c_.n_routed_experts, ratio = c_.ratio(index);
    hyper(p + "hc_attn", (2 + S) * S, 3);
    hyper(p + "hc_ffn", (2 + S) * S, 3);
    add(p + "attn_norm.weight", 2 * static_cast<std::uint64_t>(D));
    add(p + "ffn_norm.weight", 2 * static_cast<std::uint64_t>(D));
    const std::string a = p + "attn.", f = p + "ffn.";
    fp8(a + "wq_a", Q, D);
    add(a + "q_norm.weight", 2 * static_cast<std::uint64_t>(Q));
    fp8(a + "wq_b", H * C, Q);
    fp8(a + "wkv", C, D);
    add(a + "kv_norm.weight", 2 * static_cast<std::uint64_t>(C));
    add(a + "attn_sink", 4 * static_cast<std::uint64_t>(H));
    fp8(a + "wo_a", G * A, H * C / G);
    fp8(a + "wo_b", D, G * A);
    if (ratio != 0) compressor(a + "compressor.", ratio, C);
    if (ratio == 4) {
      fp8(a + "indexer.wq_b", c_.index_n_heads * c_.index_head_dim, Q);
      bf16(a + "indexer.weights_proj", c_.index_n_heads, D);
      compressor(a + "indexer.compressor.", 4, c_.index_head_dim);
    }
    bf16(f + "gate", E, D);
    if (hashed)
      add(f + "gate.tid2eid", 8 * elements(c_.vocab_size, c_.num_experts_per_tok));
    else
      add(f + "gate.bias", 4 * static_cast<std::uint64_t>(E));
    // All experts of a layer are alike
    const std::uint64_t before = out_.n_tensors, drafted = out_.draft;
    routed(f + "experts.0.w1", I, D);
    routed(f + "experts.0.w3", I, D);
    routed(f + "experts.0.w2", D, I);
    out_.n_tensors += (out_.n_tensors - before) * static_cast<std::uint64_t>(E - 1);
    out_.draft += (out_.draft - drafted) * static_cast<std::uint64_t>(E - 1);
    fp8(f + "shared_experts.w1", I, D);
    fp8(f + "shared_experts.w3", I, D);
    fp8(f + "shared_experts.w2", D, I);
  }

  const Config& c_;
  const std::string_view expert_dtype_;
  ModelBytes& out_;
};

std::optional<Component> component_of(std::string_view rest) {
  const auto begins = [&](std::string_view with) { return rest.starts_with(with); };
  if (begins("hc_")) return Component::hyper_connections;
  if (begins("attn.indexer.")) return Component::indexers;
  if (begins("attn.compressor.")) return Component::compressors;
  if (rest.find("norm") != std::string_view::npos || begins("attn.attn_sink"))
    return Component::norms;
  if (begins("attn.")) return Component::attention;
  if (begins("ffn.shared_experts.")) return Component::shared_experts;
  if (begins("ffn.gate.tid2eid")) return Component::hash_tables;
  if (begins("ffn.gate.")) return Component::routers;
  return std::nullopt;
}

}  // namespace

std::uint64_t LayerBytes::dense() const {
  return std::accumulate(components.begin(), components.end(), std::uint64_t{0});
}

std::uint64_t ModelBytes::total(int n_experts) const {
  std::uint64_t bytes = embed + head + draft;
  for (const LayerBytes& layer : layers)
    bytes += layer.dense() + layer.expert * static_cast<std::uint64_t>(n_experts);
  return bytes;
}

bool add_tensor(ModelBytes& to, std::string_view name, std::uint64_t bytes) {
  ++to.n_tensors;
  if (name.starts_with("mtp.")) return to.draft += bytes, true;
  if (name.starts_with("embed.")) return to.embed += bytes, true;
  if (name.starts_with("head.") || name.starts_with("norm.") || name.starts_with("hc_head_"))
    return to.head += bytes, true;
  std::size_t layer = 0;
  if (!name.starts_with("layers.")) return false;
  const char* const digits = name.data() + std::string_view("layers.").size();
  const auto [end, ec] = std::from_chars(digits, name.data() + name.size(), layer);
  if (ec != std::errc() || end == name.data() + name.size() || *end != '.' || layer >= 1024)
    return false;
  if (layer >= to.layers.size()) to.layers.resize(layer + 1);
  const std::string_view rest(end + 1,
                              static_cast<std::size_t>(name.data() + name.size() - end - 1));
  if (rest.starts_with("ffn.experts.")) {
    if (rest.starts_with("ffn.experts.0."))
      to.layers[layer].expert += bytes;  // all of a layer are stored alike
    return true;
  }
  const auto component = component_of(rest);
  if (!component) return false;
  to.layers[layer].components[static_cast<std::size_t>(*component)] += bytes;
  return true;
}

ModelBytes model_bytes(const Config& config, std::string_view expert_dtype) {
  ModelBytes out;
  Release(config, expert_dtype, out).all();
  out.fp4_experts = expert_dtype == "fp4";
  return out;
}

Result<Sized> sized_model(const std::string& directory) {
  namespace fs = std::filesystem;
  const std::string path = directory + "/config.json";
  std::error_code ec;
  const bool shards = fs::is_directory(directory, ec) &&
                      std::any_of(fs::directory_iterator(directory, ec), fs::directory_iterator(),
                                  [](const auto& entry) {
                                    return entry.path().extension() == ".safetensors" &&
                                           entry.path().filename().string().starts_with("model");
                                  });
  if (shards) {
    auto checkpoint = Checkpoint::open(directory, {});
    if (!checkpoint) return tl::unexpected(checkpoint.error());
    Sized out{checkpoint->config(), {}};
    for (const auto& [name, entry] : checkpoint->entries())
      add_tensor(out.bytes, name, entry.tensor->n_bytes);
    out.bytes.from_shards = true;
    out.bytes.layers.resize(static_cast<std::size_t>(out.config.num_hidden_layers));
    out.bytes.fp4_experts = std::ranges::equal(out.bytes.layers,
                                               model_bytes(out.config, "fp4").layers, {},
                                               &LayerBytes::expert, &LayerBytes::expert);
    return out;
  }
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return tl::unexpected(Error{
        Errc::not_found,
        fmt::format("read {}: cannot open it; name a directory with a checkpoint's config.json",
                    path)});
  std::string text(kConfigBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kConfigBytesMax)
    return tl::unexpected(
        Error{Errc::malformed, fmt::format("read {}: more than {} bytes", path, kConfigBytesMax)});
  const auto config = parse_config(text, path);
  if (!config) return tl::unexpected(config.error());
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto dtype = json.find("expert_dtype");
  std::string expert_dtype = "fp4";
  if (dtype != json.end() && dtype->is_string()) expert_dtype = dtype->get<std::string>();
  if (expert_dtype != "fp4" && expert_dtype != "fp8" && expert_dtype != "bf16")
    return tl::unexpected(
        Error{Errc::unsupported,
              fmt::format("read {}: expert_dtype is \"{:.40}\", expected fp4, fp8 or bf16", path,
                          expert_dtype)});
  return Sized{*config, model_bytes(*config, expert_dtype)};
}

}  // namespace lares::engine
