#include "engine/model/expert_memory.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/model/repack.h"
#include "engine/model/weights.h"
#include "kernels/tiles.h"

namespace lares::engine {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

std::uint64_t stored_bytes(const kernels::Matrix& m) {
  const std::uint64_t n = static_cast<std::uint64_t>(m.n_out) * m.n_in;
  switch (m.format) {
    case kernels::Format::f32: return 4 * n;
    case kernels::Format::bf16: return 2 * n;
    case kernels::Format::fp8: return n;
    case kernels::Format::fp4: return n / 2;
  }
  return 0;
}
std::uint64_t scales(const kernels::Matrix& m) {
  return m.format == kernels::Format::fp4 ? static_cast<std::uint64_t>(m.n_out) * m.n_in / 32
                                          : static_cast<std::uint64_t>((m.n_out + 127) / 128) * ((m.n_in + 127) / 128);
}

double log2_of_sum(double a, double b) {  // of 2^a + 2^b
  const double high = std::max(a, b), low = std::min(a, b);
  return low == kNever ? high : high + std::log2(1 + std::exp2(low - high));
}

}  // namespace

ExpertMemory::ExpertMemory(std::vector<Expert> experts, std::uint64_t bytes_max) {
  report_.bytes_max = bytes_max;
  for (Expert& parts : experts) {
    State s{.parts = std::move(parts), .heat = kNever};
    for (const Part& part : s.parts) s.bytes += part.bytes.size();
    report_.bytes += s.bytes;
    experts_.push_back(std::move(s));
  }
  publish();
}

void ExpertMemory::publish() {
  const std::lock_guard lock(mutex_);
  published_ = report_;
}

void ExpertMemory::bring(std::int32_t expert) {
  State& s = experts_[expert];
  if (s.resident) return;
  s.resident = true;
  resident_.emplace(s.heat, expert);
  report_.resident += s.bytes;
  report_.read += s.bytes;
  for (const Part& part : s.parts) part.file->read_ahead(part.bytes);
}

// Those named by the call before this one go only when nothing else is left, those of this call never.
void ExpertMemory::make_room(std::span<const std::int32_t> experts) {
  ++call_;
  std::uint64_t missing = 0;
  for (const auto e : experts) {
    experts_[e].wanted = call_;
    if (!experts_[e].resident) missing += experts_[e].bytes;
  }
  for (const std::uint64_t kept_from : {call_ - 1, call_})
    for (auto coldest = resident_.begin(); coldest != resident_.end() && report_.resident + missing > report_.bytes_max;) {
      State& s = experts_[coldest->second];
      if (s.wanted >= kept_from) {
        ++coldest;
        continue;
      }
      coldest = resident_.erase(coldest);
      s.resident = false;
      report_.resident -= s.bytes;
      ++report_.given_up;
      for (const Part& part : s.parts) part.file->forget(part.bytes);
    }
}

void ExpertMemory::use(std::span<const std::int32_t> experts, std::span<const std::int32_t> counts, double n_tokens) {
  clock_ += n_tokens;
  make_room(experts);
  for (std::size_t i = 0; i < experts.size(); ++i) {
    State& s = experts_[experts[i]];
    ++(s.resident ? report_.found : report_.missed);
    if (s.resident) resident_.erase({s.heat, experts[i]});
    s.heat = log2_of_sum(s.heat, std::log2(static_cast<double>(counts[i])) + clock_ / kHeatHalfLife);
    if (s.resident) resident_.emplace(s.heat, experts[i]);
    bring(experts[i]);
  }
  publish();
}

void ExpertMemory::expect(std::span<const std::int32_t> experts) {
  make_room(experts);
  for (const auto e : experts) bring(e);
  publish();
}

MemoryUse::Experts ExpertMemory::report() const {
  const std::lock_guard lock(mutex_);
  return published_;
}

std::vector<ExpertMemory::Expert> expert_parts(const Weights& weights, const Repacked& repacked) {
  std::vector<const MappedFile*> files;
  for (std::size_t i = 0; i < weights.checkpoint.shards().size(); ++i) files.push_back(&weights.checkpoint.file(i));
  if (repacked.file()) files.push_back(repacked.file());
  std::vector<ExpertMemory::Expert> out;
  const auto add = [&](ExpertMemory::Expert& to, const void* at, std::uint64_t bytes) {
    const auto* data = static_cast<const std::uint8_t*>(at);
    for (const MappedFile* file : files)
      if (data && file->holds(data)) to.push_back({file, {data, bytes}});
  };
  const auto add_layer = [&](const LayerWeights& layer) {
    for (const ExpertWeights& e : layer.experts) {
      auto& to = out.emplace_back();
      for (const kernels::Matrix* m : {&e.w1, &e.w3, &e.w2}) {
        if (const kernels::Tiles* tiles = m->tiles) {
          add(to, tiles->data, static_cast<std::uint64_t>(kernels::tiles_bytes(tiles->format, tiles->n_out, tiles->n_in)));
          add(to, tiles->scale, sizeof(float) * static_cast<std::uint64_t>(kernels::tiles_scales(tiles->n_out, tiles->n_in)));
        } else {
          add(to, m->data, stored_bytes(*m));
          add(to, m->scale, scales(*m));
          add(to, m->scale_f32, sizeof(float) * scales(*m));
        }
      }
    }
  };
  for (const LayerWeights& layer : weights.layers) add_layer(layer);
  for (const LayerWeights* block : weights.draft_layers()) add_layer(*block);
  return out;
}

}  // namespace lares::engine
