// One answer of the model while it is sampled: the grammar that constrains it, the parser that
// reads it, and the limits that end it. Runs on the engine's thread, a token at a time; what it
// produced is looked at between slices of time.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/turn/branches.h"
#include "daemon/turn/repetition.h"
#include "daemon/turn/turn.h"
#include "engine/chat.h"
#include "engine/grammar.h"

namespace lares::daemon {

// </think> and the end-of-sentence token of an answer that is broken off
inline constexpr std::int64_t kClosingTokens = 2;

// That a step has drawn; with more the model rather reads what its edit came to
inline constexpr std::int64_t kEditResampleTokensMax = 8192;
// What is drawn again is hotter, but without what is so much less likely than the likeliest
// (Sampling::min_p): heat alone draws noise (Nguyen et al., arXiv:2407.01082).
inline constexpr float kResampleMinP = 0.1f;

// The beginning of the answer, from one that was given up: it goes on behind that, with another
// token than `avoid`.
struct Kept {
  std::vector<engine::Token> tokens;
  std::optional<engine::Token> avoid;
  bool heard = true;  // events() do not tell of them once more
};

class Answer {
 public:
  enum class End { open, end, max_tokens, cancelled, context_full, repetition, error };

  struct Limits {
    std::int64_t tokens_max = 0, think_tokens_max = 0;
    std::int64_t context_max = 0;  // tokens of the transcript, this answer included
    std::int64_t choices_max = 0;  // tokens whose alternatives are kept
    // Tokens that repeat themselves; in calls not fewer than kWrittenPeriodTokensMin
    std::size_t period_min = kPeriodTokensMin;
  };
  // `timeline` has been synced to the prompt and `kept`. Both outlive the answer.
  Answer(const engine::Engine& engine, engine::Timeline& timeline, engine::GrammarOptions grammar,
         engine::Sampling sampling, Limits limits, const Kept& kept = {});

  void draw(std::stop_token stop);  // one token, or the end
  // The parser's, of what was drawn since the last call; after the end, what it held back too.
  std::vector<engine::Event> events();

  End end() const { return end_; }
  const std::string& error() const { return error_; }
  bool no_memory() const { return no_memory_; }  // is the error, which may be over soon
  const std::string& kept_text() const { return kept_text_; }  // the content in Kept
  bool think_forced() const { return think_forced_; }
  std::int64_t n_tokens() const { return static_cast<std::int64_t>(tokens_.size()); }
  std::int64_t n_thinking() const { return n_thinking_ - n_thinking_kept_; }  // drawn
  std::span<const engine::Token> drawn() const { return tokens_; }  // what was kept before it, too
  const std::vector<Choice>& choices() const {
    return choices_;
  }                                 // without that; empty ones beyond Limits::choices_max
  void go_on(std::int64_t n_more);  // after max_tokens, before events()
  // After repetition: what came before it, and before the first call.
  Kept before_repetition() const;
  // What the transcript gets: the sampled ids, closed where the answer was broken off, so that a
  // next turn can follow.
  std::vector<engine::Token> tokens() const;

 private:
  void sample_one();
  void take(engine::Token token, bool thinking);
  std::size_t n_before_calls(std::size_t n) const;

  const engine::Engine& engine_;
  engine::Timeline& timeline_;
  engine::Sampling sampling_;
  Limits limits_;
  std::unique_ptr<engine::Grammar> grammar_;
  engine::StreamParser parser_;
  std::optional<engine::Token> eos_, think_end_;
  std::vector<engine::Token> tokens_;
  std::vector<Choice> choices_;
  std::optional<std::size_t> calls_at_;  // where the call block began
  std::string undecoded_;                // what the parser has not read
  // Of undecoded_: what was still thought, where the end of the reasoning is in it
  std::optional<std::size_t> thought_bytes_;
  std::int64_t n_thinking_ = 0, n_thinking_kept_ = 0;
  bool think_forced_ = false;
  std::string kept_text_;
  std::optional<engine::Token> avoid_;
  engine::TokenMask avoiding_;
  std::size_t n_periodic_ = 0;  // tokens at the end that repeat themselves
  End end_ = End::open;
  std::string error_;
  bool no_memory_ = false;
};

// What an answer is drawn with after `draw` that were given up: another seed, and not too cold, or
// the same would come again.
void draw_otherwise(engine::Sampling& sampling, int draw);
// Behind a branch it is another already.
void draw_branch(engine::Sampling& sampling, int draw);
engine::TokenMask only_token(const engine::Tokenizer& tokenizer, engine::Token token);
// `mask` (null: all tokens) without `token`, unless nothing else is left; `into` holds it.
const engine::TokenMask* without_token(const engine::Tokenizer& tokenizer, engine::Token token,
                                       const engine::TokenMask* mask, engine::TokenMask& into);

// See protocol::TurnStep; "end" for one that may have called tools
std::string_view reason_of(Answer::End end);

}  // namespace lares::daemon
