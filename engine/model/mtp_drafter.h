// Guesses from the checkpoint's MTP block (SPEC section 3.11), which reads the main model's streams and the token after them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/model/forward.h"

namespace lares::engine {

// The block's window is filled when a guess is first wanted, from the streams of the last window of tokens, and then follows. Its
// rows are numbered from the first one filled: RoPE is relative, and attention then never sees a row that is not there.
class MtpDrafter {
 public:
  MtpDrafter(const Weights& weights, Forward& forward);

  // The main model's streams [n, S, D] of tokens position..position + n - 1.
  void keep(std::int64_t position, int n, const float* streams);
  // Only the first `size` tokens stay as they were.
  void drop_to(std::int64_t size);
  // Up to n guesses at what follows `tokens`, of which all but the last were evaluated. None when their streams are not known.
  void draft(std::span<const Token> tokens, int n, std::vector<Token>& out);

 private:
  float* streams_of(std::int64_t position) { return streams_.data() + static_cast<std::size_t>(position % window_) * width_; }
  void begin_at(std::int64_t position);
  Token likeliest(const float* streams);

  const Weights& weights_;
  Forward& forward_;
  const std::int64_t window_;
  const std::size_t width_;
  std::vector<float> streams_;        // [W, S, D], position p at p mod W
  std::int64_t begin_ = 0, end_ = 0;  // positions it holds
  LayerState state_;
  std::int64_t origin_ = 0, size_ = 0;  // rows of positions origin_..origin_ + size_ - 1 are filled, from main streams
  std::int64_t high_ = 0;               // rows ever written since origin_, guesses included
  std::vector<float> x_, logits_;
};

}  // namespace lares::engine
