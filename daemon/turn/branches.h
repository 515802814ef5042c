// What a model could have said in place of what it said: n-best search over the answers drawn for
// one step. Where one is given up for what it does, more heat only draws noise around what the
// model is sure of; the likeliest answer that was not given is its next best.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "daemon/turn/turn.h"
#include "engine/engine.h"

namespace lares::daemon {

inline constexpr int kBranchWidth = 8;  // tokens looked at beside the one drawn
// Of what was not drawn: one in a thousand is no way to go on
inline constexpr float kBranchLogprobMin = -7.0f;

// A token that was drawn, and what else could have been: natural logarithms of their probabilities
// among what the grammar allowed.
struct Choice {
  float drawn = 0;
  std::vector<std::pair<engine::Token, float>> others;  // likeliest first
};
// `mask`: what was allowed; null: all.
Choice choice_of(engine::Token drawn, const engine::Logprobs& logprobs,
                 const engine::TokenMask* mask);

// The beginning of an answer that was not given: tokens of one that was, and another in the last
// place.
struct Branch {
  std::vector<engine::Token> tokens;
  std::vector<DrawnPart> parts;  // how they were drawn
  double logprob = 0;
};

// The parts that begin before token `at`, and the first.
std::vector<DrawnPart> up_to(std::vector<DrawnPart> parts, std::int64_t at);

class Branches {
 public:
  // An answer and its choices, which are those of its last tokens; the first ones are those of
  // `from`, or it began with nothing. `draw`: its number among the answers of the step.
  void add(std::span<const engine::Token> answer, std::span<const Choice> choices,
           const std::optional<Branch>& from, int draw);
  // The likeliest beginning that no answer had, and no call gave before.
  std::optional<Branch> next(int draw);

 private:
  struct Answer {
    std::vector<engine::Token> tokens;
    std::vector<DrawnPart> parts;
  };
  struct Way {
    double logprob;
    std::size_t answer, at;
    engine::Token token;
  };
  std::vector<Answer> answers_;
  std::vector<Way> ways_;
};

}  // namespace lares::daemon
