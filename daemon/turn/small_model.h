// Models that do what they were trained for, whatever else they are told.
#pragma once

#include <cstdint>

#include "engine/engine.h"

namespace lares::daemon {

// Of fewer parameters; none says how many it has: it is not small.
inline constexpr std::uint64_t kSmallModelParameters = 1'000'000'000;
inline bool is_small(const engine::ModelInfo& model) {
  return model.n_parameters > 0 && model.n_parameters < kSmallModelParameters;
}

}  // namespace lares::daemon
