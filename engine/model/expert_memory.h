// Which routed experts are in memory, when a checkpoint is larger than it: those that the text at hand asks for most. All the
// others are read from the disk when a token is sent to them. What is computed does not depend on any of it.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/model/mapped_file.h"

namespace lares::engine {

struct Weights;
class Repacked;

inline constexpr double kHeatHalfLife = 2048;  // tokens after which a token sent to an expert counts half

// For one thread, but for report().
class ExpertMemory {
 public:
  struct Part {
    const MappedFile* file;
    std::span<const std::uint8_t> bytes;
  };
  using Expert = std::vector<Part>;

  // Experts by number; together they may hold `bytes_max` of memory, or what a single use() needs if that is more.
  ExpertMemory(std::vector<Expert> experts, std::uint64_t bytes_max);

  // counts[i] tokens are about to be sent to experts[i], after `n_tokens` tokens passed since the last call (a part of one where
  // a call is one layer's). Begins to read what is missing, all of it at once, for which the least asked for of the others go.
  void use(std::span<const std::int32_t> experts, std::span<const std::int32_t> counts, double n_tokens);
  // The next use() will name these: begins to read what is missing.
  void expect(std::span<const std::int32_t> experts);

  MemoryUse::Experts report() const;  // from any thread

 private:
  struct State {
    Expert parts;
    std::uint64_t bytes = 0;
    double heat = 0;  // log2 of the tokens sent to it, a token worth twice one of kHeatHalfLife before it: so no clock ages it
    bool resident = false;
    std::uint64_t wanted = 0;  // the last call that named it
  };
  void make_room(std::span<const std::int32_t> experts);  // for those of them that are missing
  void bring(std::int32_t expert);
  void publish();

  std::vector<State> experts_;
  std::set<std::pair<double, std::int32_t>> resident_;  // by heat
  std::uint64_t call_ = 0;
  double clock_ = 0;  // tokens
  MemoryUse::Experts report_;
  mutable std::mutex mutex_;  // of `published_` alone: nobody waits for the disk
  MemoryUse::Experts published_;
};

// The routed experts of every layer, then of every draft block, in their order; parts of theirs that no file holds are left out.
std::vector<ExpertMemory::Expert> expert_parts(const Weights& weights, const Repacked& repacked);

}  // namespace lares::engine
