// Guesses from the checkpoint's DSpark stages (tests/reference/v4_reference.py), a block at a time.
#pragma once

#include "engine/model/draft/block_drafter.h"
#include "engine/model/forward.h"

namespace lares::engine {

// Which of the stages' rows are there, and which to evaluate. Their context is the target layers'
// streams of the last window of tokens. Its KV rows are computed when a guess is wanted, for the
// positions that have none yet: a long prompt costs as much as its last window.
class DsparkDrafter : public BlockDrafter {
 public:
  void drop_to(std::int64_t size) override;
  void draft(std::span<const Token> tokens, int n, std::vector<Token>& out) override;
  std::int64_t missing(std::int64_t size) const override;
  int guesses_max() const override { return block_size_; }
  bool at_once() const override { return true; }
  std::span<const double> chances() const override { return chances_; }

 protected:
  // rollback: rows that the stages' rings keep beside a window.
  DsparkDrafter(const Config& config, std::int64_t rollback);

  // The KV rows of positions from..last - 1, whose hidden rows are kept; rows of positions before
  // `first` are of no use.
  virtual void context(std::int64_t first, std::int64_t from, std::int64_t last) = 0;
  // n guesses at what follows the anchor at `position`, and the confidence's logit of each. The
  // rows of positions seen_from..position - 1 are there.
  virtual void block(std::int64_t seen_from, std::int64_t position, Token anchor, int n,
                     std::vector<Token>& out, std::vector<float>& confidence) = 0;

  // Whose hidden rows are kept: a window, and as many as wrong guesses may take back
  RecentPositions positions_;

 private:
  std::int64_t first_missing(std::int64_t last) const;

  const std::int64_t window_, rollback_;
  const int block_size_;
  std::int64_t first_ = 0, end_ = 0;  // KV rows of positions first_..end_ - 1 are there
  std::int64_t high_ = 0;             // KV rows were written up to there, blocks included
  std::vector<float> confidence_;
  std::vector<double> chances_;
};

class CpuDspark : public DsparkDrafter {
 public:
  CpuDspark(const Weights& weights, Forward& forward);

  void saw(int layer, std::int64_t position, int n, const float* streams) override;
  std::uint64_t bytes() const override {
    std::uint64_t n = hidden_.bytes() +
                      (rows_.capacity() + block_.logits.capacity()) * sizeof(float);
    for (const LayerState& stage : stages_) n += stage.window.bytes();
    return n;
  }

  const Forward::Block& block() const { return block_; }  // the last one

 private:
  void context(std::int64_t first, std::int64_t from, std::int64_t last) override;
  void block(std::int64_t seen_from, std::int64_t position, Token anchor, int n,
             std::vector<Token>& out, std::vector<float>& confidence) override;

  const Config& c_;
  const DsparkWeights& weights_;
  Forward& forward_;
  RecentRows hidden_;  // [targets, D]
  std::vector<LayerState> stages_;
  std::vector<float> rows_;
  Forward::Block block_;
};

}  // namespace lares::engine
