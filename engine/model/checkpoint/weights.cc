#include "engine/model/checkpoint/weights.h"

#include <fmt/format.h>

namespace lares::engine {
namespace {

// Runs the takes in order and keeps the first error, so that the list below reads as a table of
// the release's tensors.
class Loader {
 public:
  Loader(Checkpoint& checkpoint, std::vector<NamedMatrix>& matrices)
      : ckpt_(checkpoint), c_(checkpoint.config()), matrices_(matrices) {}
  bool failed() const { return error_.has_value(); }
  Error& error() { return *error_; }

  void matrix(kernels::Matrix& out, const std::string& name, std::initializer_list<Dtype> dtypes,
              int n_out, int n_in) {
    if (failed()) return;
    keep(out, ckpt_.matrix(name, dtypes, n_out, n_in));
    matrices_.push_back({name, &out});
  }
  // bf16 in small models, and wo_a in repacks (by dtype, for configs do not say).
  void fp8(kernels::Matrix& out, const std::string& name, int n_out, int n_in) {
    matrix(out, name, {Dtype::f8_e4m3, Dtype::bf16}, n_out, n_in);
  }
  void bf16(kernels::Matrix& out, const std::string& name, int n_out, int n_in) {
    matrix(out, name, {Dtype::bf16, Dtype::f32}, n_out, n_in);
  }
  // Looked up, not multiplied
  void table(kernels::Matrix& out, const std::string& name, int rows, int width) {
    if (!failed()) keep(out, ckpt_.matrix(name, {Dtype::bf16, Dtype::f32}, rows, width));
  }
  void floats(const float*& out, const std::string& name, const std::vector<std::int64_t>& shape) {
    if (!failed()) keep(out, ckpt_.floats(name, shape));
  }
  void hyper(HyperWeights& out, const std::string& prefix, bool head) {
    const int S = c_.hc_mult, rows = head ? S : (2 + S) * S;
    if (!failed()) keep(out.fn, ckpt_.plain_matrix(prefix + "_fn", rows, S * c_.hidden_size));
    floats(out.base, prefix + "_base", {rows});
    floats(out.scale, prefix + "_scale", {head ? 1 : 3});
  }
  void compressor(CompressorWeights& out, const std::string& p, int ratio, int dim) {
    out.ratio = ratio;
    out.dim = dim;
    bf16(out.wkv, p + "wkv", out.width(), c_.hidden_size);
    bf16(out.wgate, p + "wgate", out.width(), c_.hidden_size);
    floats(out.ape, p + "ape", {ratio, out.width()});
    floats(out.norm, p + "norm.weight", {dim});
  }
  void expert(ExpertWeights& out, const std::string& p, std::initializer_list<Dtype> dtypes) {
    const int D = c_.hidden_size, I = c_.moe_intermediate_size;
    matrix(out.w1, p + "w1", dtypes, I, D);
    matrix(out.w3, p + "w3", dtypes, I, D);
    matrix(out.w2, p + "w2", dtypes, D, I);
  }
  // The forward pass prepares a token once for all experts of a layer, so they are stored alike.
  void alike(const ExpertWeights& e, const ExpertWeights& first, const std::string& p) {
    if (e.w1.format == first.w1.format && e.w3.format == first.w1.format &&
        e.w2.format == first.w2.format)
      return;
    error_ = Error{Errc::unsupported,
                   fmt::format("load {}, tensors {}*: stored in another format than the layer's "
                               "other experts; one format is supported",
                               ckpt_.directory(), p)};
  }
  void layer(LayerWeights& out, const std::string& p, int index) {
    const int D = c_.hidden_size, H = c_.num_attention_heads, C = c_.head_dim, Q = c_.q_lora_rank,
              G = c_.o_groups;
    out.index = index;
    out.ratio = c_.ratio(index);
    hyper(out.hc_attn, p + "hc_attn", false);
    hyper(out.hc_ffn, p + "hc_ffn", false);
    floats(out.attn_norm, p + "attn_norm.weight", {D});
    floats(out.ffn_norm, p + "ffn_norm.weight", {D});
    const std::string a = p + "attn.";
    fp8(out.wq_a, a + "wq_a", Q, D);
    floats(out.q_norm, a + "q_norm.weight", {Q});
    fp8(out.wq_b, a + "wq_b", H * C, Q);
    fp8(out.wkv, a + "wkv", C, D);
    floats(out.kv_norm, a + "kv_norm.weight", {C});
    floats(out.attn_sink, a + "attn_sink", {H});
    fp8(out.wo_a, a + "wo_a", G * c_.o_lora_rank, H * C / G);
    fp8(out.wo_b, a + "wo_b", D, G * c_.o_lora_rank);
    if (out.ratio != 0) compressor(out.compressor.emplace(), a + "compressor.", out.ratio, C);
    if (out.ratio == 4) {
      auto& indexer = out.indexer.emplace();
      fp8(indexer.wq_b, a + "indexer.wq_b", c_.index_n_heads * c_.index_head_dim, Q);
      bf16(indexer.weights_proj, a + "indexer.weights_proj", c_.index_n_heads, D);
      compressor(indexer.compressor, a + "indexer.compressor.", 4, c_.index_head_dim);
    }
    const std::string f = p + "ffn.";
    bf16(out.gate, f + "gate", c_.n_routed_experts, D);
    if (index < c_.num_hidden_layers && c_.hashed(index)) {
      if (!failed())
        keep(out.tid2eid, ckpt_.ids(f + "gate.tid2eid", {c_.vocab_size, c_.num_experts_per_tok},
                                    c_.n_routed_experts));
    } else {
      floats(out.gate_bias, f + "gate.bias", {c_.n_routed_experts});
    }
    out.experts.reserve(c_.n_routed_experts);
    for (int e = 0; e < c_.n_routed_experts && !failed(); ++e)
      expert(out.experts.emplace_back(), fmt::format("{}experts.{}.", f, e),
             {Dtype::i8, Dtype::f8_e4m3, Dtype::bf16});
    expert(out.shared, f + "shared_experts.", {Dtype::f8_e4m3, Dtype::bf16});
    for (int e = 0; e < c_.n_routed_experts && !failed(); ++e)
      alike(out.experts[e], out.experts[0], fmt::format("{}experts.{}.", f, e));
    if (!failed()) alike(out.shared, out.shared, f + "shared_experts.");
  }
  void mtp(MtpWeights& out, int k) {
    const int D = c_.hidden_size;
    const std::string p = fmt::format("mtp.{}.", k);
    layer(out.block, p, c_.num_hidden_layers + k);
    fp8(out.e_proj, p + "e_proj", D, D);
    fp8(out.h_proj, p + "h_proj", D, D);
    floats(out.enorm, p + "enorm.weight", {D});
    floats(out.hnorm, p + "hnorm.weight", {D});
    floats(out.norm, p + "norm.weight", {D});
    hyper(out.hc_head, p + "hc_head", true);
  }
  void dspark(DsparkWeights& out, int stages) {
    const int D = c_.hidden_size, rank = c_.dspark_markov_rank;
    fp8(out.main_proj, "mtp.0.main_proj", D,
        static_cast<int>(c_.dspark_target_layer_ids.size()) * D);
    floats(out.main_norm, "mtp.0.main_norm.weight", {D});
    out.stages.reserve(stages);
    for (int k = 0; k < stages && !failed(); ++k)
      layer(out.stages.emplace_back(), fmt::format("mtp.{}.", k), c_.num_hidden_layers + k);
    const std::string last = fmt::format("mtp.{}.", stages - 1);
    floats(out.norm, last + "norm.weight", {D});
    hyper(out.hc_head, last + "hc_head", true);
    table(out.markov_w1, last + "markov_head.markov_w1", c_.vocab_size, rank);
    bf16(out.markov_w2, last + "markov_head.markov_w2", c_.vocab_size, rank);
    bf16(out.confidence, last + "confidence_head.proj", 1, D + rank);
  }

 private:
  template <class T>
  void keep(T& out, Result<T> result) {
    if (result)
      out = *result;
    else
      error_ = std::move(result.error());
  }
  Checkpoint& ckpt_;
  const Config& c_;
  std::vector<NamedMatrix>& matrices_;
  std::optional<Error> error_;
};

// Copies of the shared embedding and head in draft blocks: the release's convert.py skips them too
bool ignored(const std::string& name) {
  return name.rfind("mtp.", 0) == 0 &&
         (name.find("emb") != std::string::npos || name.ends_with("head.weight"));
}

}  // namespace

std::vector<const LayerWeights*> Weights::draft_layers() const {
  std::vector<const LayerWeights*> out;
  for (const MtpWeights& block : mtp) out.push_back(&block.block);
  if (dspark)
    for (const LayerWeights& stage : dspark->stages) out.push_back(&stage);
  return out;
}

Result<std::unique_ptr<Weights>> load_weights(const std::string& directory,
                                              const Progress& progress) {
  auto opened = Checkpoint::open(directory, progress);
  if (!opened) return tl::unexpected(opened.error());
  auto w = std::make_unique<Weights>(Weights{.checkpoint = std::move(*opened)});
  const Config& c = w->checkpoint.config();
  const int D = c.hidden_size;
  Loader load(w->checkpoint, w->matrices);
  load.table(w->embed, "embed", c.vocab_size, D);
  load.bf16(w->head, "head", c.vocab_size, D);
  load.floats(w->norm, "norm.weight", {D});
  load.hyper(w->hc_head, "hc_head", true);
  w->layers.reserve(c.num_hidden_layers);
  for (int i = 0; i < c.num_hidden_layers && !load.failed(); ++i)
    load.layer(w->layers.emplace_back(), fmt::format("layers.{}.", i), i);

  // Draft blocks are known by their tensors: later checkpoints keep num_nextn_predict_layers at 1
  // whatever they carry.
  const auto& entries = w->checkpoint.entries();
  const auto first = entries.lower_bound("mtp.");
  const bool some = first != entries.end() && first->first.rfind("mtp.", 0) == 0;
  const bool dspark = w->checkpoint.has("mtp.0.main_proj.weight"),
             unknown_dspark = dspark && c.dspark_block_size == 0;
  if (unknown_dspark) {
    w->notes.push_back(
        "DSpark draft stages are present and not run: config.json has no dspark_block_size");
  } else if (dspark) {
    int stages = 1;
    const auto any_of = [&](int k) {
      const std::string prefix = fmt::format("mtp.{}.", k);
      const auto at = entries.lower_bound(prefix);
      return at != entries.end() && at->first.starts_with(prefix);
    };
    while (any_of(stages)) ++stages;
    load.dspark(w->dspark.emplace(), stages);
  } else if (w->checkpoint.has("mtp.0.e_proj.weight") || (some && c.num_nextn_predict_layers > 0)) {
    w->mtp.reserve(c.num_nextn_predict_layers);
    for (int k = 0; k < std::max(1, c.num_nextn_predict_layers) && !load.failed(); ++k)
      load.mtp(w->mtp.emplace_back(), k);
  } else if (c.num_nextn_predict_layers > 0) {
    w->notes.push_back("config.json announces draft blocks and the shards hold none");
  }
  if (!w->dspark) w->checkpoint.without_dspark();
  if (load.failed()) return tl::unexpected(std::move(load.error()));
  std::size_t unknown = 0;
  std::string example;
  for (const auto& [name, entry] : w->checkpoint.entries())
    if (!entry.used && !ignored(name) && !(unknown_dspark && name.rfind("mtp.", 0) == 0)) {
      if (unknown++ == 0) example = name;
    }
  if (unknown)
    w->notes.push_back(fmt::format("{} tensors of unknown use, {} first", unknown, example));
  return w;
}

}  // namespace lares::engine
