// The model's tensors, each found, checked and typed once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/model/checkpoint/checkpoint.h"
#include "kernels/linear.h"

namespace lares::engine {

struct HyperWeights {
  kernels::Matrix fn;  // [(2 + S) S, S D], the head's [S, S D]
  const float *base, *scale;
};
struct CompressorWeights {
  kernels::Matrix wkv, wgate;  // [c d, D], c = 2 when the ratio is 4
  const float* ape;            // [ratio, c d]
  const float* norm;           // [d]
  int ratio, dim;
  int width() const { return ratio == 4 ? 2 * dim : dim; }
  int rows() const { return ratio == 4 ? 2 * ratio : ratio; }  // raw rows a group is pooled from
};
struct IndexerWeights {
  kernels::Matrix wq_b, weights_proj;
  CompressorWeights compressor;
};
struct ExpertWeights {
  kernels::Matrix w1, w2, w3;  // gate, down, up
};
struct LayerWeights {
  int index = 0;  // draft blocks follow the layers
  int ratio;
  HyperWeights hc_attn, hc_ffn;
  const float *attn_norm, *ffn_norm, *q_norm, *kv_norm, *attn_sink;
  kernels::Matrix wq_a, wq_b, wkv, wo_a, wo_b;
  std::optional<CompressorWeights> compressor;
  std::optional<IndexerWeights> indexer;
  kernels::Matrix gate;
  const float* gate_bias = nullptr;       // [E], scored layers
  const std::int64_t* tid2eid = nullptr;  // [V, k], hashed layers
  std::vector<ExpertWeights> experts;
  ExpertWeights shared;
};
struct MtpWeights {
  LayerWeights block;
  kernels::Matrix e_proj, h_proj;
  const float *enorm, *hnorm, *norm;
  HyperWeights hc_head;
};

// Block drafting of the later checkpoints (V4-Flash-0731, V4-Pro-0813, -DSpark).
struct DsparkWeights {
  std::vector<LayerWeights> stages;
  kernels::Matrix main_proj;  // [D, targets D]
  const float *main_norm, *norm;
  HyperWeights hc_head;
  // [V, rank]: looked up by the token before, and multiplied with that
  kernels::Matrix markov_w1, markov_w2;
  kernels::Matrix confidence;  // [1, D + rank]
};

struct NamedMatrix {
  std::string name;
  kernels::Matrix* matrix;
};

struct Weights {
  Checkpoint checkpoint;  // owns what the pointers below point to
  kernels::Matrix embed, head;
  const float* norm;
  HyperWeights hc_head;
  std::vector<LayerWeights> layers;
  std::vector<MtpWeights> mtp;
  std::optional<DsparkWeights> dspark;  // instead of MTP blocks
  std::vector<NamedMatrix> matrices;    // what multiplies activations, in the order it is used
  // What matrices' tiles are read from; empty: none are, or they were built in memory
  std::string tiles_file;
  // What a person should know: draft stages not run, tensors nobody asked for
  std::vector<std::string> notes;

  // Of the checkpoint's draft blocks, MTP or DSpark.
  std::vector<const LayerWeights*> draft_layers() const;
};

Result<std::unique_ptr<Weights>> load_weights(const std::string& directory,
                                              const Progress& progress);

}  // namespace lares::engine
