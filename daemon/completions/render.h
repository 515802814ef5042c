// A stateless client's request as the model's tokens: its conversation, with what was sampled
// before in the tokens it was sampled in, and what the answer may be.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/completions/generation.h"
#include "daemon/completions/sampled.h"
#include "engine/grammar.h"
#include "engine/tokenizer.h"

namespace lares::daemon {

inline constexpr std::size_t kToolsMax = 1024;
inline constexpr std::size_t kToolNameMax = 128;  // bytes
inline constexpr int kCallsPerAnswerMax = 64;

struct CheckpointWords {
  std::string generation = "preview";  // as in engine/chat.h's EncodeOptions
  std::string effort = "max";          // where a client asks for none
};

struct Rendered {
  std::vector<engine::Token> prompt;
  std::vector<engine::Token> begun;  // of the answer, which goes on behind them
  engine::GrammarOptions grammar;
};

// Reasoning that a client left out is put back where it is known; else it is an empty think block
// where the format shows earlier reasoning (with tools), and nothing where it does not.
tl::expected<Rendered, Refusal> render(const Conversation& conversation,
                                       const engine::Tokenizer& tokenizer, SampledAnswers& sampled,
                                       const CheckpointWords& words);
tl::expected<Rendered, Refusal> render(const Infill& infill, const engine::Tokenizer& tokenizer);

}  // namespace lares::daemon
