#include "engine/cuda/expert_uses.h"

#include <algorithm>
#include <utility>

namespace lares::engine::cuda {

std::uint64_t ExpertUses::bytes(const Config& c, int n_layers) {
  return sizeof(std::int32_t) * static_cast<std::uint64_t>(n_layers) *
         (static_cast<std::uint64_t>(c.n_routed_experts) + 1);
}

ExpertUses::ExpertUses(Device& device, const Config& c, const DeviceWeights& weights,
                       ExpertHeat* heat)
    : device_(device),
      weights_(weights),
      n_experts_(static_cast<std::size_t>(c.n_routed_experts)),
      n_layers_(c.num_hidden_layers),
      heat_(heat),
      memory_(device, bytes(c, weights.end() - weights.begin())) {}

const std::int32_t* ExpertUses::ask(int layer, const WorkSpace& w) {
  auto* const to = reinterpret_cast<std::int32_t*>(memory_.data()) +
                   static_cast<std::size_t>(layer - weights_.begin()) * (n_experts_ + 1);
  device_.to_host(to, w.begin, sizeof(std::int32_t) * (n_experts_ + 1));
  if (std::ranges::find(asked_, layer) == asked_.end())
    asked_.push_back(layer);  // a cancelled evaluation's are not counted
  return to;
}

void ExpertUses::count(int n) {
  const std::vector<int> asked = std::exchange(asked_, {});
  if (!counts_) return;
  for (const int layer : asked) {
    const auto* const begin = reinterpret_cast<const std::int32_t*>(memory_.data()) +
                              static_cast<std::size_t>(layer - weights_.begin()) * (n_experts_ + 1);
    if (heat_) heat_->pass(static_cast<double>(n) / n_layers_);
    for (std::size_t e = 0; e < n_experts_; ++e) {
      const std::int32_t rows = begin[e + 1] - begin[e];
      if (rows == 0) continue;
      (weights_.layer(layer).resident[e] ? found_ : missed_) += 1;
      if (heat_) heat_->sent(static_cast<std::size_t>(layer) * n_experts_ + e, rows);
    }
  }
  if (heat_) heat_->keep_now_and_then();
}

}  // namespace lares::engine::cuda
