// Guesses from the checkpoint's own draft blocks, which read what the main model's layers left
// behind.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/model/checkpoint/config.h"
#include "engine/model/draft/draft_policy.h"

namespace lares::engine {

class Forward;
struct Weights;

// Tokens up to the newest of which something is kept for the draft blocks: a window, and DSpark's,
// as many as wrong guesses may take back.
inline int rows_kept(const Config& c) {
  return c.sliding_window + (c.dspark_block_size > 0 ? kDraftMax : 0);
}

class BlockDrafter {
 public:
  // What the checkpoint has, computed by the CPU; null: none.
  static std::unique_ptr<BlockDrafter> of(const Weights& weights, Forward& forward);
  virtual ~BlockDrafter() = default;

  // The main model's streams [n, S, D] of tokens position..position + n - 1 after layer `layer`;
  // the layers come in order. What a GPU computes stays there instead (engine/cuda/draft_blocks.h).
  virtual void saw(int /*layer*/, std::int64_t /*position*/, int /*n*/, const float* /*streams*/) {}
  // Only the first `size` tokens stay as they were.
  virtual void drop_to(std::int64_t size) = 0;
  // Up to n guesses at what follows `tokens`, of which all but the last were evaluated. None when
  // what they need is not known.
  virtual void draft(std::span<const Token> tokens, int n, std::vector<Token>& out) = 0;

  // Rows of its own that must be computed before a guess at what follows `size` tokens, the last of
  // which waits to be evaluated.
  virtual std::int64_t missing(std::int64_t size) const = 0;
  virtual int guesses_max() const = 0;
  // Whether the last draft took as long as its like will.
  virtual bool settled() const { return true; }
  // Whether all guesses of a draft cost one pass together, instead of one each.
  virtual bool at_once() const = 0;
  // Of the guesses of the last draft, how likely the block itself thinks each to be right if those
  // before it are; empty: it does not say.
  virtual std::span<const double> chances() const { return {}; }
  virtual std::uint64_t bytes() const = 0;  // that it holds
};

// The newest positions that something is kept of, `window` at most; a position left out forgets
// those before it.
class RecentPositions {
 public:
  explicit RecentPositions(std::int64_t window) : window_(window) {}

  std::int64_t window() const { return window_; }
  std::int64_t begin() const { return begin_; }
  std::int64_t end() const { return end_; }
  std::size_t slot(std::int64_t position) const {
    return static_cast<std::size_t>(position % window_);
  }
  // Now holds position..position + n - 1 too, as far as they fit; what is in their slots is the
  // caller's to write.
  void extend(std::int64_t position, int n);
  void drop_to(std::int64_t size);

 private:
  const std::int64_t window_;
  std::int64_t begin_ = 0, end_ = 0;
};

// Rows of floats in the slots of such positions.
class RecentRows {
 public:
  RecentRows(const RecentPositions& positions, std::size_t width)
      : positions_(positions),
        width_(width),
        rows_(static_cast<std::size_t>(positions.window()) * width) {}

  std::uint64_t bytes() const { return rows_.size() * sizeof(float); }
  float* row(std::int64_t position) { return rows_.data() + positions_.slot(position) * width_; }
  // Rows first..last - 1, which are kept, one after another.
  void copy(std::int64_t first, std::int64_t last, std::vector<float>& out);

 private:
  const RecentPositions& positions_;
  const std::size_t width_;
  std::vector<float> rows_;  // [window, width]
};

}  // namespace lares::engine
