// Draws a token from logits. The same logits, options, position and context give the same token,
// always.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "kernels/thread_pool.h"

namespace lares::engine {

// Penalties look at this many of the last tokens
inline constexpr std::size_t kPenaltyWindow = 8192;

// What penalties look at: the tokens before the draw, and where generation began in them.
struct Context {
  std::span<const Token> tokens;
  std::size_t generated_from = 0;
};

// Work is linear in the vocabulary, whatever the filters keep. Keeps its work space from draw to
// draw, and nothing else.
class Sampler {
 public:
  // A large vocabulary's weights are shared out to the threads of `pool`, which may be null; the
  // same bits with any number of them.
  explicit Sampler(kernels::ThreadPool* pool = nullptr) : pool_(pool) {}

  // `position` is the place the token will take. Ties go to the lowest id. The draw runs over ids
  // in ascending order, with a filter over probabilities in descending order.
  Result<Token> draw(std::span<const float> logits, const Sampling& sampling, const TokenMask* mask,
                     std::int64_t position, const Context& context = {});

  std::uint64_t bytes() const {  // that it holds
    return bests_.capacity() * sizeof(Best) + logits_.capacity() * sizeof(float) +
           generated_.capacity() * sizeof(std::uint16_t) + seen_.capacity() / 8 +
           weights_.capacity() * sizeof(double) + kept_.capacity() * sizeof(Candidate);
  }
  static std::uint64_t bytes_for(std::size_t vocab) {  // that it may come to hold
    return vocab * (sizeof(float) + sizeof(std::uint16_t) + sizeof(double) + sizeof(Candidate)) +
           vocab / 8;
  }

 private:
  struct Candidate {
    double weight;  // probability over the likeliest token's
    Token id;
  };

  struct Best {  // the lowest id of the greatest allowed logit; the size when none is allowed
    std::size_t id;
    std::size_t nan;  // any allowed id whose logit is not a number
  };

  void each_blocks(std::size_t blocks, const std::function<void(std::size_t, std::size_t)>& f);
  Best best_of(std::span<const float> logits, const TokenMask* mask);
  std::span<const float> penalised(std::span<const float> logits, const Sampling& sampling,
                                   const Context& context);
  void weigh(std::span<const float> logits, const TokenMask* mask, double top, double temperature);
  void filter(const Sampling& sampling);
  Token draw_ascending(double target) const;
  Token draw_filtered(double uniform);

  kernels::ThreadPool* const pool_;
  std::vector<Best> bests_;  // of each stretch of blocks
  std::vector<float> logits_;
  std::vector<std::uint16_t> generated_;  // [V], zero between draws
  std::vector<bool> seen_;                // [V], false between draws
  std::vector<Token> distinct_;
  std::vector<double> weights_;              // [V] up to a whole block
  std::vector<double> sums_, tops_, order_;  // a block: sum and maximum of its weights; work space
  double total_ = 0;
  std::vector<Candidate> kept_;
};

// Of `token`, and of the min(n, kLogprobsMax) likeliest.
Logprobs logprobs(std::span<const float> logits, Token token, int n);

}  // namespace lares::engine
