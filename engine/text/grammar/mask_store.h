// What masks need of texts and patterns, made on a thread of its own as soon as they are known and
// kept for when they come again.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "engine/text/grammar/mask_worker.h"
#include "engine/text/grammar/pattern_masks.h"
#include "engine/text/grammar/stretch_index.h"

namespace lares::engine {

inline constexpr std::size_t kStretchIndexesMax = 16, kPatternsKeptMax = 256;  // each
inline constexpr std::size_t kMaskStoreBytesMax = 64 << 20;  // of memory for each, the newest aside

class MaskStore {
 public:
  explicit MaskStore(const Vocabulary& vocabulary)
      : vocabulary_(vocabulary) {}  // which outlives it

  // May not be built yet.
  std::shared_ptr<const StretchIndex> stretch_index(std::string text,
                                                    StretchIndex::Of of = StretchIndex::Of::text);
  std::shared_ptr<const PatternMasks> pattern_masks(const std::shared_ptr<const Pattern>& pattern,
                                                    TextKind kind);
  void finish() { worker_.finish(); }  // waits until all that was begun is there

 private:
  const Vocabulary& vocabulary_;
  std::mutex mutex_;
  std::list<std::shared_ptr<StretchIndex>> indexes_;  // the last used first
  std::list<std::shared_ptr<PatternMasks>> patterns_;
  MaskWorker worker_;  // its jobs use the rest
};

}  // namespace lares::engine
