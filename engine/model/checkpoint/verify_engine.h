// Checks of an engine through engine.h alone, whatever computes it.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "engine/engine.h"
#include "engine/verify.h"

namespace lares::engine {

inline constexpr int kDrawn = 48;    // tokens behind a prompt
inline constexpr int kOddChunk = 7;  // tokens
// What log-probabilities from elsewhere may differ by, of tokens that are at all likely: another
// rounding, other batches, other sums (a guess).
inline constexpr double kLogprobNear = 0.5, kLogprobFloor = -6;

// Holds the engine against itself, with the prompt at once, in chunks, token by token and once
// more, to the bit; and against `logits`, the CPU's after every token of the prompt [n, V]. Names
// begin with `on`.
void check_engine(Engine& engine, const std::string& on, std::span<const Token> prompt,
                  std::span<const float> logits, const std::function<void(const Check&)>& report);

}  // namespace lares::engine
