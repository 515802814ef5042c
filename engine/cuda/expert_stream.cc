#include "engine/cuda/expert_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>
#include <utility>

#include "engine/cuda/layout.h"
#include "engine/cuda/staging.h"
#include "engine/cuda/work_space.h"

namespace lares::engine::cuda {
namespace {

std::uint64_t tiles_of(const kernels::Matrix& m) {
  return aligned(kc::tiles_bytes(m.format, m.n_out, m.n_in));
}
std::uint64_t packed(const kernels::Matrix& m) {
  return tiles_of(m) + aligned(sizeof(float) * kc::tiles_scales(m.format, m.n_out, m.n_in));
}
std::uint64_t packed(const ExpertWeights& e) { return packed(e.w1) + packed(e.w3) + packed(e.w2); }

}  // namespace

int stream_from(const Config& c, const ExpertWeights& expert, int n_threads) {
  if (expert.w1.format != kernels::Format::fp4 || expert.w2.format != kernels::Format::fp4)
    return 1;
  const double flops_a_row = 6.0 * c.hidden_size * c.moe_intermediate_size,
               rows_a_token = static_cast<double>(c.num_experts_per_tok) / c.n_routed_experts;
  const double seconds = static_cast<double>(packed(expert)) / kPcieBytes,
               rows = seconds * n_threads * kThreadFlops / flops_a_row;
  // A step's experts are read by the CPU faster than PCIe brings them: it is their bytes that count
  // there.
  return std::max(kStepTokens + 1, static_cast<int>(std::ceil(rows / rows_a_token)));
}

std::vector<const kernels::Matrix*> ExpertStream::matrices(int layer, int n_matrices,
                                                           int expert) const {
  const ExpertWeights& e =
      weights_.layers[static_cast<std::size_t>(layer)].experts[static_cast<std::size_t>(expert)];
  if (n_matrices == 2) return {&e.w1, &e.w3};
  return {&e.w2};
}

// A layer's waves of w1 and w3, or of w2, behind those that there are. Waves take the ring's stages
// in turn.
void ExpertStream::lay(int layer, std::span<const char> resident, int n_matrices) {
  Layer& of = layers_[static_cast<std::size_t>(layer - begin_)];
  const auto begin_wave = [&] {
    const int number = static_cast<int>(waves_.size());
    of.waves.push_back(number);
    const std::uint64_t table = ring_table_bytes(n_matrices, static_cast<int>(resident.size()));
    waves_.push_back({.layer = layer,
                      .stage = number % kRingStages,
                      .n_matrices = n_matrices,
                      .at = of.bytes,
                      .bytes = table,
                      .pieces = {}});
    of.bytes += table;
  };
  bool begun = false;
  for (std::size_t e = 0; e < resident.size(); ++e) {
    if (resident[e]) continue;
    const std::vector<const kernels::Matrix*> those = matrices(layer, n_matrices,
                                                               static_cast<int>(e));
    std::uint64_t bytes = 0;
    for (const kernels::Matrix* const m : those) bytes += packed(*m);
    if (!begun || waves_.back().bytes + bytes > stage_bytes_) begin_wave();
    begun = true;
    Wave& wave = waves_.back();
    Piece& piece = wave.pieces.emplace_back(Piece{.expert = static_cast<int>(e),
                                                  .begin = wave.bytes,
                                                  .end = wave.bytes + bytes,
                                                  .tiles = {},
                                                  .scale = {}});
    for (std::size_t k = 0; k < those.size(); ++k) {
      piece.tiles[k] = wave.bytes;
      piece.scale[k] = wave.bytes + tiles_of(*those[k]);
      wave.bytes += packed(*those[k]);
    }
    of.bytes += bytes;
  }
}

Result<std::unique_ptr<ExpertStream>> ExpertStream::make(Device& device, const Weights& weights,
                                                         int begin, int end,
                                                         std::span<const char> resident,
                                                         std::uint64_t ring_max) {
  auto out = std::unique_ptr<ExpertStream>(new ExpertStream(device, weights, begin));
  const Config& c = weights.checkpoint.config();
  std::uint64_t largest = 0;
  for (int i = begin; i < end; ++i)
    largest = std::max(largest,
                       packed(weights.layers[static_cast<std::size_t>(i)].experts.front()));
  out->stage_bytes_ = ring_bytes(largest, c.n_routed_experts, ring_max) / kRingStages;
  const auto E = static_cast<std::size_t>(c.n_routed_experts);
  for (int i = begin; i < end; ++i) {
    Layer& layer = out->layers_.emplace_back();
    for (const int n_matrices : {2, 1})
      out->lay(i, resident.subspan(static_cast<std::size_t>(i) * E, E), n_matrices);
    out->packed_bytes_ += layer.bytes;
  }
  const auto refused = [&](const char* where, std::uint64_t bytes) {
    return tl::unexpected(Error{
        Errc::no_memory, fmt::format("bring experts to {}: {} has no room for {:.2f} GB of them",
                                     device.name(), where, static_cast<double>(bytes) / 1e9)});
  };
  for (Layer& layer : out->layers_) {
    if (layer.bytes == 0) continue;
    layer.block = Pinned(device, layer.bytes);
    if (!layer.block) return refused("pinned host memory", out->packed_bytes_);
  }
  out->ring_ = Memory(device, kRingStages * out->stage_bytes_);
  if (!out->ring_) return refused("its memory", kRingStages * out->stage_bytes_);
  for (int k = 0; k < kRingStages; ++k)
    out->stages_.push_back({device.event(), device.event(), false});
  return out;
}

void ExpertStream::pack(int layer, kernels::ThreadPool& pool) {
  const Layer& of = layers_[static_cast<std::size_t>(layer - begin_)];
  const auto E = static_cast<std::size_t>(weights_.checkpoint.config().n_routed_experts);
  for (const int w : of.waves) {
    const Wave& wave = waves_[static_cast<std::size_t>(w)];
    std::uint8_t* const to = of.block.data() + wave.at;
    const std::uint8_t* const there = stage_at(wave.stage);
    std::vector<PackJob> jobs;
    // Tiles and scales of the one matrix, then of the other
    std::vector<const void*> table(2 * E * static_cast<std::size_t>(wave.n_matrices), nullptr);
    for (const Piece& piece : wave.pieces)
      for (std::size_t k = 0;
           const kernels::Matrix* const m : matrices(layer, wave.n_matrices, piece.expert)) {
        add_jobs(jobs, *m, 0, m->n_out, to + piece.tiles[k],
                 reinterpret_cast<float*>(to + piece.scale[k]));
        table[2 * E * k + static_cast<std::size_t>(piece.expert)] = there + piece.tiles[k];
        if (m->format == kernels::Format::fp8)
          table[2 * E * k + E + static_cast<std::size_t>(piece.expert)] = there + piece.scale[k];
        ++k;
      }
    cuda::pack(device_, pool, jobs);
    std::memcpy(to, table.data(), table.size() * sizeof table[0]);
  }
}

bool ExpertStream::used(const Wave& wave, const std::int32_t* begin) const {
  return std::ranges::any_of(wave.pieces,
                             [&](const Piece& p) { return begin[p.expert] < begin[p.expert + 1]; });
}

// Of a wave whose experts are all asked for, one run of bytes; else the table and those that are.
void ExpertStream::bring(const Wave& wave) {
  const std::uint8_t* const from =
      layers_[static_cast<std::size_t>(wave.layer - begin_)].block.data() + wave.at;
  RingStage& stage = stages_[static_cast<std::size_t>(wave.stage)];
  device_.wait(Device::Queue::copies, *stage.read);
  std::uint64_t begin = 0, end = ring_table_bytes(wave.n_matrices,
                                                  weights_.checkpoint.config().n_routed_experts);
  const auto copy = [&] {
    device_.copy_beside(stage_at(wave.stage) + begin, from + begin, end - begin);
    copied_ += end - begin;
  };
  for (const Piece& piece : wave.pieces) {
    if (asked_ && asked_[piece.expert] == asked_[piece.expert + 1]) continue;
    if (piece.begin != end) {
      copy();
      begin = piece.begin;
    }
    end = piece.end;
  }
  copy();
  device_.mark(Device::Queue::copies, *stage.arrived);
  stage.taken = true;
}

// As many of those that come as find their stage free.
void ExpertStream::fill() {
  for (; n_brought_ < coming_.size(); ++n_brought_) {
    const Wave& wave = waves_[static_cast<std::size_t>(coming_[n_brought_])];
    if (stages_[static_cast<std::size_t>(wave.stage)].taken) return;
    bring(wave);
  }
}

void ExpertStream::use(const Wave& wave, kc::ExpertLinearArgs a) {
  RingStage& stage = stages_[static_cast<std::size_t>(wave.stage)];
  const auto* const table = reinterpret_cast<const void* const*>(stage_at(wave.stage));
  const auto E = static_cast<std::size_t>(weights_.checkpoint.config().n_routed_experts);
  for (std::size_t k = 0; k < static_cast<std::size_t>(wave.n_matrices); ++k) {
    a.matrix[k].tiles = reinterpret_cast<const std::uint8_t* const*>(table + 2 * E * k);
    a.matrix[k].scale = reinterpret_cast<const float* const*>(table + 2 * E * k + E);
    a.matrix[k].shared = {};
  }
  device_.wait(Device::Queue::work, *stage.arrived);
  device_.experts_linear(a);
  device_.mark(Device::Queue::work, *stage.read);
  stage.taken = false;
}

void ExpertStream::expect(std::vector<int> coming, const std::int32_t* asked) {
  // What a cancelled evaluation left on its way comes before these, and nobody multiplies it.
  for (RingStage& stage : stages_) stage.taken = false;
  coming_ = std::move(coming);
  asked_ = asked;
  n_brought_ = n_used_ = 0;
  fill();
}

void ExpertStream::expect_all() {
  std::vector<int> all(waves_.size());
  std::iota(all.begin(), all.end(), 0);
  expect(std::move(all), nullptr);
}

void ExpertStream::expect(int layer, const std::int32_t* begin) {
  std::vector<int> some;
  std::ranges::copy_if(layers_[static_cast<std::size_t>(layer - begin_)].waves,
                       std::back_inserter(some),
                       [&](int w) { return used(waves_[static_cast<std::size_t>(w)], begin); });
  expect(std::move(some), begin);
}

void ExpertStream::multiply(int layer, const kc::ExpertLinearArgs& a) {
  for (; n_used_ < coming_.size(); ++n_used_, fill()) {
    const Wave& wave = waves_[static_cast<std::size_t>(coming_[n_used_])];
    if (wave.layer != layer || wave.n_matrices != a.n_matrices) return;
    use(wave, a);
  }
}

}  // namespace lares::engine::cuda
