// What an engine does while a long prompt is evaluated.
#pragma once

namespace lares::engine {

// An engine that is this, too, calls the progress of a sync between layers, in the thread that
// evaluates, and holds nothing then that its other timelines need: they may be drawn from there.
class DrawsBetweenLayers {
 public:
  virtual ~DrawsBetweenLayers() = default;
};

}  // namespace lares::engine
