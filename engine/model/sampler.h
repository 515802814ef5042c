// Draws a token from logits. The same logits, options and position give the same token, always.
#pragma once

#include <span>

#include "engine/engine.h"

namespace lares::engine {

// `position` is the place the token will take. Ties go to the lowest id; sums run over ids in ascending order, with top_p < 1
// over probabilities in descending order.
Result<Token> sample(std::span<const float> logits, const Sampling& sampling, const TokenMask* mask, std::int64_t position);

}  // namespace lares::engine
