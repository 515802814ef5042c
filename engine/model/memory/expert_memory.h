// Which routed experts are in memory, when a checkpoint is larger than it: those that the text at
// hand asks for most. All the others are read from the disk when a token is sent to them. What is
// computed does not depend on any of it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/model/checkpoint/mapped_file.h"
#include "engine/model/memory/expert_heat.h"
#include "engine/model/memory/sequence_memory.h"

namespace lares::engine {

struct Weights;
class Repacked;

// For one thread, but for report().
class ExpertMemory {
 public:
  struct Part {
    const MappedFile* file;
    std::span<const std::uint8_t> bytes;
  };
  using Expert = std::vector<Part>;

  // Experts by number; together they may hold `bytes_max` of memory, or what a single use() needs
  // if that is more.
  ExpertMemory(std::vector<Expert> experts, std::uint64_t bytes_max);
  ~ExpertMemory();

  // As ExpertHeat's; and reads the hottest of those experts ahead while others go on.
  Result<> remember(HeatFile file);
  // From now on experts and sequences together stay within `bytes`: experts make way, down to what
  // a single use() needs.
  void share_with(std::shared_ptr<const SequenceMemory> sequences, std::uint64_t bytes);
  void wait_until_read_ahead();  // for tests

  // counts[i] tokens are about to be sent to experts[i], after `n_tokens` tokens passed since the
  // last call (a part of one where a call is one layer's). Begins to read what is missing, all of
  // it at once, for which the least asked for of the others go.
  void use(std::span<const std::int32_t> experts, std::span<const std::int32_t> counts,
           double n_tokens);
  // The next use() will name these: begins to read what is missing.
  void expect(std::span<const std::int32_t> experts);

  MemoryUse::Experts report() const;  // from any thread

 private:
  struct State {
    Expert parts;
    std::uint64_t bytes = 0;
    bool resident = false;
    // Counted as resident, and not asked of the disk yet: the other thread is still to come to it
    bool ahead = false;
    std::uint64_t wanted = 0;  // the last call that named it
  };
  void make_room(std::span<const std::int32_t> experts);  // for those of them that are missing
  void bring(std::int32_t expert);
  void publish();
  std::uint64_t bytes_max() const;
  void read_ahead(std::stop_token stop, std::span<const std::int32_t> experts);

  std::vector<State> experts_;
  ExpertHeat heat_;
  std::set<std::pair<double, std::int32_t>> resident_;  // by heat
  std::uint64_t call_ = 0;
  std::uint64_t ahead_ = 0;                          // bytes of those to be read ahead yet
  std::shared_ptr<const SequenceMemory> sequences_;  // null: they take nothing from experts
  std::uint64_t shared_bytes_ = 0;                   // of both
  MemoryUse::Experts report_;
  std::mutex work_;  // of all above, for the thread that reads ahead: between two experts of its
                     // own
  mutable std::mutex mutex_;  // of `published_` alone: nobody waits for the disk
  MemoryUse::Experts published_;
  std::jthread ahead_of_use_;  // last, so that it ends first
};

// The routed experts of every layer, then of every draft block, in their order; parts of theirs
// that no file holds are left out.
std::vector<ExpertMemory::Expert> expert_parts(const Weights& weights, const Repacked& repacked);

}  // namespace lares::engine
