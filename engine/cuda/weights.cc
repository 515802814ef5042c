#include "engine/cuda/weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/cuda/layout.h"
#include "engine/cuda/no_room.h"
#include "engine/cuda/staging.h"
#include "kernels/rope.h"

namespace lares::engine::cuda {

// Goes over everything twice: the first time it counts, the second, with `through`, it fills.
class Uploader {
 public:
  Uploader(const Weights& weights, DeviceWeights& out, std::span<const char> resident)
      : weights_(weights), c_(weights.checkpoint.config()), out_(out), resident_(resident) {}

  void all(int begin, int end, bool head, std::uint8_t* base, Staging* through,
           const Progress& progress) {
    start(begin, head, base, through);
    for (int i = begin; i < end; ++i) {
      layer(out_.layers_.emplace_back(), weights_.layers[static_cast<std::size_t>(i)]);
      if (through && progress) progress(i + 1 - begin, end - begin);
    }
    if (!head) return;
    hyper(out_.hc_head_, weights_.hc_head);
    vector(out_.norm_, weights_.norm, static_cast<std::size_t>(c_.hidden_size));
    matrix(out_.head_, weights_.head);
  }
  void draft(const DeviceWeights& main, std::uint8_t* base, Staging* through) {
    start(0, true, base, through);
    out_.head_ = main.head();
    DeviceDraft& draft = out_.draft_.emplace();
    const auto D = static_cast<std::size_t>(c_.hidden_size);
    draft.dspark = weights_.dspark.has_value();
    if (draft.dspark) {
      const DsparkWeights& w = *weights_.dspark;
      for (const LayerWeights& stage : w.stages) layer(out_.layers_.emplace_back(), stage);
      hyper(out_.hc_head_, w.hc_head);
      vector(out_.norm_, w.norm, D);
      vector(draft.main_norm, w.main_norm, D);
      matrix(draft.main_proj, w.main_proj);
      matrix(draft.markov_w2, w.markov_w2);
    } else {
      const MtpWeights& w = weights_.mtp.front();  // as on the CPU, which asks no others
      layer(out_.layers_.emplace_back(), w.block);
      hyper(out_.hc_head_, w.hc_head);
      vector(out_.norm_, w.norm, D);
      vector(draft.enorm, w.enorm, D);
      vector(draft.hnorm, w.hnorm, D);
      matrix(draft.e_proj, w.e_proj);
      matrix(draft.h_proj, w.h_proj);
    }
  }
  std::uint64_t size() const { return at_; }

 private:
  void start(int begin, bool head, std::uint8_t* base, Staging* through) {
    base_ = base;
    through_ = through;
    at_ = 0;
    out_.config_ = &c_;
    out_.begin_ = begin;
    out_.has_head_ = head;
    out_.layers_.clear();
    const int R = c_.qk_rope_head_dim;
    std::vector<float> f(static_cast<std::size_t>(R / 2));
    kernels::rope_frequencies(R, c_.rope_theta, 0, 1, 1, 1, f.data());
    vector(out_.frequencies_[0], f.data(), f.size());
    kernels::rope_frequencies(R, c_.compress_rope_theta, c_.rope_original_len, c_.rope_factor,
                              c_.rope_beta_fast, c_.rope_beta_slow, f.data());
    vector(out_.frequencies_[1], f.data(), f.size());
  }
  std::uint8_t* take(std::uint64_t bytes) {
    // base_ is null while it counts
    auto* const at = reinterpret_cast<std::uint8_t*>(reinterpret_cast<std::uintptr_t>(base_) + at_);
    at_ = (at_ + bytes + kAlign - 1) / kAlign * kAlign;
    return at;
  }
  template <class T>
  void vector(const T*& to, const T* from, std::size_t n) {
    std::uint8_t* const at = take(n * sizeof(T));
    to = reinterpret_cast<const T*>(at);
    if (through_) through_->bytes(at, from, n * sizeof(T));
  }
  void matrix(kc::Weight& to, const kernels::Matrix& m) {
    std::uint8_t* const tiles = take(kc::tiles_bytes(m.format, m.n_out, m.n_in));
    auto* const scale =
        reinterpret_cast<float*>(take(sizeof(float) * kc::tiles_scales(m.format, m.n_out, m.n_in)));
    to = {m.format, tiles, m.format == kernels::Format::fp8 ? scale : nullptr, m.n_out, m.n_in};
    if (through_) through_->matrix(m, tiles, scale);
  }
  void hyper(DeviceHyper& to, const HyperWeights& w) {
    vector(to.fn, static_cast<const float*>(w.fn.data),
           static_cast<std::size_t>(w.fn.n_out) * static_cast<std::size_t>(w.fn.n_in));
    vector(to.base, w.base, static_cast<std::size_t>(w.fn.n_out));
    vector(to.scale, w.scale, w.fn.n_out == c_.hc_mult ? 1 : 3);
  }
  void compressor(DeviceCompressor& to, const CompressorWeights& w) {
    matrix(to.wkv, w.wkv);
    matrix(to.wgate, w.wgate);
    vector(to.ape, w.ape, static_cast<std::size_t>(w.ratio) * static_cast<std::size_t>(w.width()));
    vector(to.norm, w.norm, static_cast<std::size_t>(w.dim));
  }
  void experts(DeviceExperts& to, const LayerWeights& w, kernels::Matrix ExpertWeights::*which,
               const std::vector<char>& resident) {
    std::vector<const std::uint8_t*> tiles;
    std::vector<const float*> scale;
    for (std::size_t e = 0; e < w.experts.size(); ++e) {
      kc::Weight one;
      if (resident[e]) matrix(one, w.experts[e].*which);
      tiles.push_back(one.tiles);
      scale.push_back(one.scale);
    }
    matrix(to.shared, w.shared.*which);
    to.format = (w.experts.front().*which).format;
    vector(to.tiles, tiles.data(), tiles.size());
    vector(to.scale, scale.data(), scale.size());
  }
  void layer(DeviceLayer& to, const LayerWeights& w) {
    const auto E = static_cast<std::size_t>(c_.n_routed_experts);
    to.host = &w;
    to.resident.assign(E, 1);
    if (!resident_.empty())
      std::copy_n(
          resident_.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(w.index) * E), E,
          to.resident.begin());
    to.all_resident = std::find(to.resident.begin(), to.resident.end(), 0) == to.resident.end();
    hyper(to.hc_attn, w.hc_attn);
    hyper(to.hc_ffn, w.hc_ffn);
    vector(to.attn_norm, w.attn_norm, static_cast<std::size_t>(c_.hidden_size));
    vector(to.ffn_norm, w.ffn_norm, static_cast<std::size_t>(c_.hidden_size));
    vector(to.q_norm, w.q_norm, static_cast<std::size_t>(c_.q_lora_rank));
    vector(to.kv_norm, w.kv_norm, static_cast<std::size_t>(c_.head_dim));
    vector(to.attn_sink, w.attn_sink, static_cast<std::size_t>(c_.num_attention_heads));
    matrix(to.wq_a, w.wq_a);
    matrix(to.wq_b, w.wq_b);
    matrix(to.wkv, w.wkv);
    matrix(to.wo_a, w.wo_a);
    matrix(to.wo_b, w.wo_b);
    matrix(to.gate, w.gate);
    if (w.compressor) compressor(to.compressor.emplace(), *w.compressor);
    if (w.indexer) {
      auto& indexer = to.indexer.emplace();
      matrix(indexer.wq_b, w.indexer->wq_b);
      matrix(indexer.weights_proj, w.indexer->weights_proj);
      compressor(indexer.compressor, w.indexer->compressor);
    }
    to.gate_bias = nullptr;
    to.tid2eid = nullptr;
    if (w.tid2eid)
      vector(to.tid2eid, w.tid2eid,
             static_cast<std::size_t>(c_.vocab_size) *
                 static_cast<std::size_t>(c_.num_experts_per_tok));
    else
      vector(to.gate_bias, w.gate_bias, E);
    experts(to.w1, w, &ExpertWeights::w1, to.resident);
    experts(to.w3, w, &ExpertWeights::w3, to.resident);
    experts(to.w2, w, &ExpertWeights::w2, to.resident);
  }

  const Weights& weights_;
  const Config& c_;
  DeviceWeights& out_;
  std::span<const char> resident_;
  std::uint8_t* base_ = nullptr;
  Staging* through_ = nullptr;
  std::uint64_t at_ = 0;
};

namespace {

// What the kernels do not take, in words; empty: they take it.
std::string refusal(const Weights& w) {
  const Config& c = w.checkpoint.config();
  if (c.hc_mult != kc::kHyperStreams)
    return fmt::format("hc_mult is {}, the kernels take {}", c.hc_mult, kc::kHyperStreams);
  if (c.hidden_size % kc::kHyperSlice != 0 || c.hidden_size > kc::kHyperDimMax)
    return fmt::format("hidden_size is {}, the kernels take multiples of {} up to {}",
                       c.hidden_size, kc::kHyperSlice, kc::kHyperDimMax);
  if (c.head_dim != 128 && c.head_dim != 192 && c.head_dim != 512)
    return fmt::format("head_dim is {}, the kernels take 128, 192 and 512", c.head_dim);
  if (c.qk_rope_head_dim != 64)
    return fmt::format("qk_rope_head_dim is {}, the kernels take 64", c.qk_rope_head_dim);
  if (c.index_head_dim != kc::kIndexDim || c.index_n_heads > kc::kIndexHeadsMax)
    return fmt::format("the indexer has {} heads of {}, the kernels take up to {} of {}",
                       c.index_n_heads, c.index_head_dim, kc::kIndexHeadsMax, kc::kIndexDim);
  if (c.index_topk > kc::kTopKMax)
    return fmt::format("index_topk is {}, the kernels take up to {}", c.index_topk, kc::kTopKMax);
  if (c.n_routed_experts > kc::kExpertsMax || c.num_experts_per_tok > kc::kExpertRanksMax)
    return fmt::format("{} of {} experts a token, the kernels take up to {} of {}",
                       c.num_experts_per_tok, c.n_routed_experts, kc::kExpertRanksMax,
                       kc::kExpertsMax);
  if (c.o_lora_rank % kc::kTileRows != 0)
    return fmt::format("o_lora_rank is {}, the kernels take multiples of {}", c.o_lora_rank,
                       kc::kTileRows);
  for (const NamedMatrix& m : w.matrices)
    if (m.matrix->format == kernels::Format::f32)
      return fmt::format("{} is stored as F32, the kernels take BF16, FP8 and FP4", m.name);
  return {};
}

}  // namespace

Result<std::unique_ptr<DeviceWeights>> DeviceWeights::upload(Device& device, const Weights& weights,
                                                             int begin, int end, bool head,
                                                             std::span<const char> resident,
                                                             kernels::ThreadPool& pool,
                                                             const Progress& progress) {
  const std::string& directory = weights.checkpoint.directory();
  if (const std::string why = refusal(weights); !why.empty())
    return tl::unexpected(
        Error{Errc::unsupported, fmt::format("load {} onto {}: {}; load it with device cpu",
                                             directory, device.name(), why)});
  auto out = std::make_unique<DeviceWeights>();
  Uploader uploader(weights, *out, resident);
  uploader.all(begin, end, head, nullptr, nullptr, {});
  out->memory_ = Memory(device, uploader.size());
  if (!out->memory_)
    return tl::unexpected(
        no_room(device, directory,
                begin < end ? fmt::format("layers {} to {}", begin, end - 1) : "the head",
                uploader.size()));
  Staging staging(device, pool);
  uploader.all(begin, end, head, out->memory_.data(), &staging, progress);
  staging.finish();
  return out;
}

Result<std::unique_ptr<DeviceWeights>> DeviceWeights::upload_draft(Device& device,
                                                                   const Weights& weights,
                                                                   const DeviceWeights& main,
                                                                   kernels::ThreadPool& pool) {
  auto out = std::make_unique<DeviceWeights>();
  Uploader uploader(weights, *out, {});
  uploader.draft(main, nullptr, nullptr);
  out->memory_ = Memory(device, uploader.size());
  if (!out->memory_)
    return tl::unexpected(
        no_room(device, weights.checkpoint.directory(), "the draft blocks", uploader.size()));
  Staging staging(device, pool);
  uploader.draft(main, out->memory_.data(), &staging);
  staging.finish();
  return out;
}

}  // namespace lares::engine::cuda
