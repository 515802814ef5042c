// What timelines refuse, in the same words whichever device works.
#pragma once

#include <cstdint>
#include <span>

#include "engine/engine.h"

namespace lares::engine {

// bad_argument: the prompt is empty or holds what is no token; too_long.
Result<> may_evaluate(std::span<const Token> prompt, std::int64_t n_context, int vocab_size);
// bad_argument: a timeline of so many tokens is empty; too_long: it is full.
Result<> may_draw(std::int64_t n_tokens, std::int64_t n_context);

}  // namespace lares::engine
