// Guesses from the checkpoint's DSpark stages (SPEC appendix B), a block of them at a time.
#pragma once

#include "engine/model/block_drafter.h"
#include "engine/model/forward.h"

namespace lares::engine {

// The stages' context is the target layers' streams of the last window of tokens. Its KV rows are computed when a guess is wanted, for
// the positions that have none yet: a long prompt costs as much as its last window.
class DsparkDrafter : public BlockDrafter {
 public:
  DsparkDrafter(const Weights& weights, Forward& forward);

  void saw(int layer, std::int64_t position, int n, const float* streams) override;
  void drop_to(std::int64_t size) override;
  void draft(std::span<const Token> tokens, int n, std::vector<Token>& out) override;
  std::int64_t missing(std::int64_t size) const override;
  int guesses_max() const override;
  bool at_once() const override { return true; }
  std::span<const double> chances() const override { return chances_; }
  std::uint64_t bytes() const override {
    std::uint64_t n = hidden_.bytes() + (rows_.capacity() + block_.logits.capacity()) * sizeof(float);
    for (const LayerState& stage : stages_) n += stage.window.bytes();
    return n;
  }

  const Forward::Block& block() const { return block_; }  // the last one

 private:
  std::int64_t first_missing(std::int64_t last) const;

  const Config& c_;
  const DsparkWeights& weights_;
  Forward& forward_;
  const std::int64_t window_;
  RecentRows hidden_;  // [targets, D]; of a window, and as many as wrong guesses may take back
  std::vector<LayerState> stages_;
  std::int64_t first_ = 0, end_ = 0;  // KV rows of positions first_..end_ - 1 are there
  std::int64_t high_ = 0;             // KV rows were written up to there, blocks included
  std::vector<float> rows_;
  Forward::Block block_;
  std::vector<double> chances_;
};

}  // namespace lares::engine
