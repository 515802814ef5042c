// A model's weights on a GPU: matrices in the kernels' order, vectors as floats, and tables of
// where each expert lies. One allocation, filled once.
#pragma once

#include <optional>
#include <vector>

#include "engine/cuda/device.h"
#include "engine/model/checkpoint/weights.h"
#include "kernels/thread_pool.h"

namespace lares::engine::cuda {

struct DeviceHyper {
  const float *fn, *base, *scale;
};
struct DeviceCompressor {
  kc::Weight wkv, wgate;
  const float *ape, *norm;
};
struct DeviceIndexer {
  kc::Weight wq_b, weights_proj;
  DeviceCompressor compressor;
};
struct DeviceExperts {
  // [n_experts] pointers each, in device memory; null where the expert is not on this GPU.
  const std::uint8_t* const* tiles;
  const float* const* scale;
  kc::Weight shared;
  kernels::Format format;  // of the routed ones
};
struct DeviceLayer {
  const LayerWeights* host;
  DeviceHyper hc_attn, hc_ffn;
  const float *attn_norm, *ffn_norm, *q_norm, *kv_norm, *attn_sink;
  kc::Weight wq_a, wq_b, wkv, wo_a, wo_b, gate;
  std::optional<DeviceCompressor> compressor;
  std::optional<DeviceIndexer> indexer;
  const float* gate_bias;
  const std::int64_t* tid2eid;
  DeviceExperts w1, w2, w3;
  std::vector<char> resident;  // [n_experts]
  bool all_resident = true;
};

// What draft blocks have beside their layers: those of MtpWeights or DsparkWeights.
struct DeviceDraft {
  bool dspark = false;
  const float *enorm = nullptr, *hnorm = nullptr;
  kc::Weight e_proj, h_proj;
  const float* main_norm = nullptr;
  kc::Weight main_proj, markov_w2;
};

class DeviceWeights {
 public:
  // Layers [begin, end), and the head where `head` is set. resident: [layers * experts] of the
  // whole model, empty: all. unsupported for shapes and formats that the kernels do not take.
  static Result<std::unique_ptr<DeviceWeights>> upload(Device& device, const Weights& weights,
                                                       int begin, int end, bool head,
                                                       std::span<const char> resident,
                                                       kernels::ThreadPool& pool,
                                                       const Progress& progress);
  // The checkpoint's draft blocks as if they were the layers of a model, from 0 on, with `main`'s
  // head, which must outlive them. All of their experts.
  static Result<std::unique_ptr<DeviceWeights>> upload_draft(Device& device, const Weights& weights,
                                                             const DeviceWeights& main,
                                                             kernels::ThreadPool& pool);

  const Config& config() const { return *config_; }
  bool is_mtp() const { return draft_ && !draft_->dspark; }
  bool is_dspark() const { return draft_ && draft_->dspark; }
  const DeviceDraft* draft() const {
    return draft_ ? &*draft_ : nullptr;
  }  // null: these are the model's
  const DeviceLayer& layer(int i) const { return layers_[static_cast<std::size_t>(i - begin_)]; }
  int begin() const { return begin_; }
  int end() const { return begin_ + static_cast<int>(layers_.size()); }
  bool has_head() const { return has_head_; }
  const DeviceHyper& hc_head() const { return hc_head_; }
  const float* norm() const { return norm_; }
  const kc::Weight& head() const { return head_; }
  const float* frequencies(bool compressed) const { return frequencies_[compressed]; }
  std::uint64_t bytes() const { return memory_.size(); }

 private:
  friend class Uploader;
  Memory memory_;
  const Config* config_ = nullptr;
  std::optional<DeviceDraft> draft_;
  int begin_ = 0;
  bool has_head_ = false;
  std::vector<DeviceLayer> layers_;
  DeviceHyper hc_head_{};
  const float* norm_ = nullptr;
  kc::Weight head_;
  const float* frequencies_[2] = {};
};

}  // namespace lares::engine::cuda
