#include "engine/model/memory/expert_memory.h"

#include <algorithm>
#include <utility>

#include "engine/model/checkpoint/repack.h"
#include "engine/model/checkpoint/weights.h"
#include "kernels/tiles.h"

namespace lares::engine {
namespace {

std::uint64_t stored_bytes(const kernels::Matrix& m) {
  const std::uint64_t n = static_cast<std::uint64_t>(m.n_out) * m.n_in;
  switch (m.format) {
    case kernels::Format::f32:
      return 4 * n;
    case kernels::Format::bf16:
      return 2 * n;
    case kernels::Format::fp8:
      return n;
    case kernels::Format::fp4:
      return n / 2;
  }
  return 0;
}
std::uint64_t scales(const kernels::Matrix& m) {
  return m.format == kernels::Format::fp4
             ? static_cast<std::uint64_t>(m.n_out) * m.n_in / 32
             : static_cast<std::uint64_t>((m.n_out + 127) / 128) * ((m.n_in + 127) / 128);
}

}  // namespace

ExpertMemory::ExpertMemory(std::vector<Expert> experts, std::uint64_t bytes_max)
    : heat_(experts.size()) {
  report_.bytes_max = bytes_max;
  for (Expert& parts : experts) {
    State s{.parts = std::move(parts)};
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

ExpertMemory::~ExpertMemory() {
  ahead_of_use_ = {};
  heat_.keep();
}

Result<> ExpertMemory::remember(HeatFile file) {
  const auto remembered = heat_.remember(std::move(file));
  if (!remembered || heat_.remembered() == 0) return remembered;
  report_.remembered = heat_.remembered();
  std::vector<std::int32_t> order;
  for (std::size_t i = 0; i < experts_.size(); ++i)
    if (heat_[i] != ExpertHeat::kNever) order.push_back(static_cast<std::int32_t>(i));
  std::sort(order.begin(), order.end(),
            [&](auto a, auto b) { return std::pair(-heat_[a], a) < std::pair(-heat_[b], b); });
  std::size_t n = 0;
  for (; n < order.size(); ++n) {
    State& s = experts_[order[n]];
    if (report_.resident + ahead_ + s.bytes > bytes_max()) break;
    s.resident = s.ahead = true;
    ahead_ += s.bytes;
    resident_.emplace(heat_[order[n]], order[n]);
  }
  order.resize(n);
  publish();
  if (n > 0)
    ahead_of_use_ = std::jthread([this, order = std::move(order)](std::stop_token stop) {
      read_ahead(std::move(stop), order);
    });
  return {};
}

void ExpertMemory::share_with(std::shared_ptr<const SequenceMemory> sequences,
                              std::uint64_t bytes) {
  const std::lock_guard lock(work_);
  sequences_ = std::move(sequences);
  shared_bytes_ = bytes;
}

std::uint64_t ExpertMemory::bytes_max() const {
  if (!sequences_) return report_.bytes_max;
  const std::uint64_t held = sequences_->held();
  return std::min(report_.bytes_max, shared_bytes_ - std::min(shared_bytes_, held));
}

void ExpertMemory::read_ahead(std::stop_token stop, std::span<const std::int32_t> experts) {
  for (const auto e : experts) {
    if (stop.stop_requested()) return;
    const std::lock_guard lock(work_);
    State& s = experts_[e];
    if (!s.ahead) continue;  // used meanwhile, or given up
    bring(e);
    report_.ahead += s.bytes;
    publish();
  }
}

void ExpertMemory::wait_until_read_ahead() {
  if (ahead_of_use_.joinable()) ahead_of_use_.join();
}

void ExpertMemory::bring(std::int32_t expert) {
  State& s = experts_[expert];
  if (s.resident && !s.ahead) return;
  if (!std::exchange(s.resident, true)) resident_.emplace(heat_[expert], expert);
  if (std::exchange(s.ahead, false)) ahead_ -= s.bytes;
  report_.resident += s.bytes;
  report_.read += s.bytes;
  for (const Part& part : s.parts) part.file->read_ahead(part.bytes);
}

// Those named by the call before this one go only when nothing else is left, those of this call
// never.
void ExpertMemory::make_room(std::span<const std::int32_t> experts) {
  ++call_;
  const std::uint64_t most = bytes_max();
  std::uint64_t missing = 0;
  for (const auto e : experts) {
    experts_[e].wanted = call_;
    if (!experts_[e].resident) missing += experts_[e].bytes;
  }
  for (const std::uint64_t kept_from : {call_ - 1, call_})
    for (auto coldest = resident_.begin();
         coldest != resident_.end() && report_.resident + ahead_ + missing > most;) {
      State& s = experts_[coldest->second];
      if (s.wanted >= kept_from) {
        ++coldest;
        continue;
      }
      coldest = resident_.erase(coldest);
      s.resident = false;
      if (std::exchange(s.ahead, false)) {
        ahead_ -= s.bytes;
        continue;
      }
      report_.resident -= s.bytes;
      ++report_.given_up;
      for (const Part& part : s.parts) part.file->forget(part.bytes);
    }
}

void ExpertMemory::use(std::span<const std::int32_t> experts, std::span<const std::int32_t> counts,
                       double n_tokens) {
  const std::lock_guard lock(work_);
  heat_.pass(n_tokens);
  make_room(experts);
  for (std::size_t i = 0; i < experts.size(); ++i) {
    State& s = experts_[experts[i]];
    ++(s.resident && !s.ahead ? report_.found : report_.missed);
    if (s.resident) resident_.erase({heat_[experts[i]], experts[i]});
    heat_.sent(experts[i], counts[i]);
    if (s.resident) resident_.emplace(heat_[experts[i]], experts[i]);
    bring(experts[i]);
  }
  heat_.keep_now_and_then();
  report_.unkept = heat_.unkept();
  publish();
}

void ExpertMemory::expect(std::span<const std::int32_t> experts) {
  const std::lock_guard lock(work_);
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
  for (std::size_t i = 0; i < weights.checkpoint.shards().size(); ++i)
    files.push_back(&weights.checkpoint.file(i));
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
          add(to, tiles->data,
              static_cast<std::uint64_t>(
                  kernels::tiles_bytes(tiles->format, tiles->n_out, tiles->n_in)));
          add(to, tiles->scale,
              sizeof(float) *
                  static_cast<std::uint64_t>(kernels::tiles_scales(tiles->n_out, tiles->n_in)));
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
