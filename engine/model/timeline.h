// A sequence in memory: its tokens, its state, the logits after the last of them, and snapshots to return to.
#pragma once

#include <vector>

#include "engine/engine.h"
#include "engine/model/forward.h"
#include "engine/model/sampler.h"
#include "engine/model/state.h"

namespace lares::engine {

inline constexpr int kChunk = 256;                              // tokens evaluated at a time
inline constexpr std::int64_t kSnapshotEvery = 128;             // lcm of the release's ratios: no open groups there
inline constexpr std::size_t kSnapshotsMax = 64;
inline constexpr std::uint64_t kSnapshotBytesMax = 1u << 30;

class ModelTimeline : public Timeline {
 public:
  ModelTimeline(const Weights& weights, Forward& forward, std::int64_t n_context, int chunk = kChunk);

  std::span<const Token> tokens() const override { return tokens_; }
  Result<std::int64_t> sync(std::span<const Token> prompt, std::stop_token stop, const Progress& progress) override;
  Result<Token> next(const Sampling& sampling, const TokenMask* mask) override;
  Logprobs logprobs(int n) const override;

  std::span<const float> logits() const { return logits_; }

 private:
  void evaluate(std::span<const Token> tokens, bool logits);
  void go_back(std::int64_t position);
  void keep_snapshot();

  const Weights& weights_;
  Forward& forward_;
  const std::int64_t n_context_;
  const int chunk_;
  State state_;
  std::vector<Token> tokens_;  // state_.size() of them evaluated, at most one more
  std::vector<float> logits_;  // after tokens_[state_.size() - 1], when logits_valid_
  bool logits_valid_ = false;
  std::size_t generated_from_ = 0;  // tokens_ from here on were drawn since the last sync
  Sampler sampler_;
  std::vector<State::Snapshot> snapshots_;  // ascending positions
  std::vector<float> streams_;
};

}  // namespace lares::engine
