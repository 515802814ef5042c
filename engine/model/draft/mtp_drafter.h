// Guesses from the checkpoint's MTP block (inference/model.py), which reads the main model's
// streams and the token after them.
#pragma once

#include "engine/model/draft/block_drafter.h"
#include "engine/model/forward.h"

namespace lares::engine {

inline constexpr int kMtpMax = 4;  // guesses; the block was trained for one

// Which of the block's rows are there, and which to evaluate. Its window is filled when a guess is
// first wanted, from the streams of the last window of tokens, and then follows. Its rows are
// numbered from the first one filled: RoPE is relative, and attention then never sees a row that is
// not there.
class MtpDrafter : public BlockDrafter {
 public:
  void drop_to(std::int64_t size) override;
  void draft(std::span<const Token> tokens, int n, std::vector<Token>& out) override;
  std::int64_t missing(std::int64_t size) const override;
  int guesses_max() const override { return kMtpMax; }
  bool at_once() const override { return false; }

 protected:
  // rollback: rows that the block's ring keeps beside a window.
  MtpDrafter(std::int64_t window, std::int64_t rollback)
      : positions_(window), window_(window), rollback_(rollback) {}

  // Evaluates rows row, row + 1 and so on, of the main model's streams at positions first, first +
  // 1 and so on and the tokens after them; returns the likeliest token after the last.
  virtual Token from_model(std::int64_t row, std::int64_t first, std::span<const Token> next) = 0;
  // The same of one row, of the streams that the block itself gave last.
  virtual Token from_itself(std::int64_t row, Token next) = 0;

  RecentPositions positions_;  // whose streams are kept

 private:
  void begin_at(std::int64_t position);
  std::int64_t first_missing(std::int64_t last) const;

  const std::int64_t window_, rollback_;
  // Rows of positions origin_..origin_ + size_ - 1 are filled, from main streams
  std::int64_t origin_ = 0, size_ = 0;
  std::int64_t high_ = 0;  // rows ever written since origin_, guesses included
};

class CpuMtp : public MtpDrafter {
 public:
  CpuMtp(const Weights& weights, Forward& forward);

  void saw(int layer, std::int64_t position, int n, const float* streams) override;
  std::uint64_t bytes() const override {
    return streams_.bytes() + state_.window.bytes() +
           (x_.capacity() + logits_.capacity()) * sizeof(float);
  }

 private:
  Token from_model(std::int64_t row, std::int64_t first, std::span<const Token> next) override;
  Token from_itself(std::int64_t row, Token next) override;
  Token likeliest(const float* streams);

  const Weights& weights_;
  Forward& forward_;
  const std::size_t width_;
  RecentRows streams_;  // [S, D]
  LayerState state_;
  std::vector<float> x_, logits_;
  float* last_ = nullptr;  // in x_, what the block gave last
};

}  // namespace lares::engine
