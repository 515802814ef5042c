// What a checkpoint says of its model, for those that are asked about it.
#pragma once

#include "engine/engine.h"
#include "engine/model/checkpoint/weights.h"

namespace lares::engine {

// All of it but n_chunk and what only one device has.
ModelInfo model_info(const Weights& weights, const LoadOptions& options);

}  // namespace lares::engine
