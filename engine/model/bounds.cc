#include "engine/model/bounds.h"

#include <fmt/format.h>

#include <algorithm>

namespace lares::engine {

Result<> may_evaluate(std::span<const Token> prompt, std::int64_t n_context, int vocab_size) {
  if (prompt.empty())
    return tl::unexpected(Error{Errc::bad_argument, "evaluate a prompt: it is empty"});
  if (std::ssize(prompt) > n_context)
    return tl::unexpected(
        Error{Errc::too_long, fmt::format("evaluate a prompt of {} tokens: the context holds {}",
                                          prompt.size(), n_context)});
  const auto outside = std::ranges::find_if(prompt,
                                            [&](Token t) { return t < 0 || t >= vocab_size; });
  if (outside == prompt.end()) return {};
  return tl::unexpected(
      Error{Errc::bad_argument,
            fmt::format("evaluate a prompt: token {} at {} is outside the vocabulary of {}",
                        *outside, outside - prompt.begin(), vocab_size)});
}

Result<> may_draw(std::int64_t n_tokens, std::int64_t n_context) {
  if (n_tokens == 0)
    return tl::unexpected(
        Error{Errc::bad_argument, "draw a token: the timeline is empty, give it a prompt first"});
  if (n_tokens >= n_context)
    return tl::unexpected(Error{
        Errc::too_long, fmt::format("draw a token: the context of {} tokens is full", n_context)});
  return {};
}

}  // namespace lares::engine
