// vLLM's completions over token ids (POST /v1/completions, stream), which Lares serves too.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace lares::daemon {

// The ids of a mask, ascending.
std::vector<engine::Token> allowed_ids(const engine::TokenMask& mask);

struct CompletionAsked {
  std::span<const engine::Token> prompt;
  std::int64_t tokens_max = 1;
  engine::Sampling sampling;
  std::vector<engine::Token> allowed;  // every draw is one of these; empty: any
  int n_logprobs = 0;                  // of the likeliest, with each draw
};
std::string completion_body(const std::string& model, const CompletionAsked& asked);

struct DrawnToken {
  engine::Token id = 0;
  engine::Logprobs logprobs = {};  // where they were asked for
};

struct CompletionPiece {
  std::vector<DrawnToken> tokens;
  enum class Finish { none, stop, length } finish = Finish::none;
  std::optional<std::int64_t> n_cached;  // of the prompt's tokens, where the server says it
};
// Of one event. An error: it is none, it says one, or has text without ids, or an id of vocab_size
// or more.
engine::Result<CompletionPiece> completion_piece(const std::string& event, int vocab_size);

}  // namespace lares::daemon
