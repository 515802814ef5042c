// Guesses from the checkpoint's MTP block (SPEC section 3.11), which reads the main model's streams and the token after them.
#pragma once

#include "engine/model/block_drafter.h"
#include "engine/model/forward.h"

namespace lares::engine {

inline constexpr int kMtpMax = 4;  // guesses; the block was trained for one

// The block's window is filled when a guess is first wanted, from the streams of the last window of tokens, and then follows. Its
// rows are numbered from the first one filled: RoPE is relative, and attention then never sees a row that is not there.
class MtpDrafter : public BlockDrafter {
 public:
  MtpDrafter(const Weights& weights, Forward& forward);

  void saw(int layer, std::int64_t position, int n, const float* streams) override;
  void drop_to(std::int64_t size) override;
  void draft(std::span<const Token> tokens, int n, std::vector<Token>& out) override;
  std::int64_t missing(std::int64_t size) const override;
  int guesses_max() const override { return kMtpMax; }
  bool at_once() const override { return false; }
  std::uint64_t bytes() const override { return streams_.bytes() + state_.window.bytes() + (x_.capacity() + logits_.capacity()) * sizeof(float); }

 private:
  void begin_at(std::int64_t position);
  std::int64_t first_missing(std::int64_t last) const;
  Token likeliest(const float* streams);

  const Weights& weights_;
  Forward& forward_;
  const std::int64_t window_;
  const std::size_t width_;
  RecentRows streams_;  // [S, D]
  LayerState state_;
  std::int64_t origin_ = 0, size_ = 0;  // rows of positions origin_..origin_ + size_ - 1 are filled, from main streams
  std::int64_t high_ = 0;               // rows ever written since origin_, guesses included
  std::vector<float> x_, logits_;
};

}  // namespace lares::engine
