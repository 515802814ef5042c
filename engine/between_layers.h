// What an engine does while a long prompt is evaluated.
#pragma once

#include <cstdint>
#include <span>

#include "engine/engine.h"

namespace lares::engine {

// An engine that is this, too, calls the progress of a sync between layers, in the thread that
// evaluates, and holds nothing then that its other timelines need: from there they may be drawn,
// and made to end with prompts of their own.
class DrawsBetweenLayers {
 public:
  virtual ~DrawsBetweenLayers() = default;
  // Tokens that Timeline::sync() of one of this engine's, which is not being synced, would evaluate
  // at most: what it gave back to others counts too. On the engine's thread.
  virtual std::int64_t left_of(const Timeline& timeline, std::span<const Token> prompt) const = 0;
};

}  // namespace lares::engine
