#include "daemon/turn/answer.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "daemon/protocol/turn_reasons.h"
#include "daemon/turn/repetition.h"
#include "daemon/utf8.h"

namespace lares::daemon {
Answer::Answer(const engine::Engine& engine, engine::Timeline& timeline,
               engine::GrammarOptions grammar, engine::Sampling sampling, Limits limits,
               const Kept& kept)
    : engine_(engine),
      timeline_(timeline),
      sampling_(sampling),
      limits_(limits),
      parser_({.thinking = grammar.thinking, .tools = grammar.tools, .held_to_grammar = true}),
      eos_(engine.tokenizer().added(engine::kEos)),
      think_end_(engine.tokenizer().added(engine::kThinkEnd)) {
  grammar_ = engine::Grammar::make(engine.tokenizer(), std::move(grammar));
  if (grammar_->in_calls()) calls_at_ = 0;  // a call is all that it may be
  timeline_.expect_logprobs(limits_.choices_max > 0 ? kBranchWidth : 0);
  for (const engine::Token token : kept.tokens) take(token, grammar_->thinking());
  avoid_ = kept.avoid;
  n_thinking_kept_ = n_thinking_;
  if (!kept.heard) return;
  auto heard = events();
  auto held = parser_.settle();
  std::move(held.begin(), held.end(), std::back_inserter(heard));
  for (const auto& event : heard)
    if (const auto* const content = std::get_if<engine::ContentDelta>(&event))
      kept_text_ += content->text;
}

void Answer::go_on(std::int64_t n_more) {
  limits_.tokens_max += n_more;
  end_ = End::open;
}

void Answer::sample_one() {
  if (n_tokens() >= limits_.tokens_max) {
    end_ = End::max_tokens;
    return;
  }
  if (static_cast<std::int64_t>(timeline_.tokens().size()) + kClosingTokens >=
      limits_.context_max) {
    end_ = End::context_full;
    return;
  }
  const bool thinking = grammar_->thinking();
  engine::Result<engine::Token> token = tl::unexpected(engine::Error{});
  Choice choice;
  if (thinking && think_end_ && n_thinking_ >= limits_.think_tokens_max) {
    think_forced_ = true;
    const auto mask = only_token(engine_.tokenizer(), *think_end_);
    token = timeline_.next(sampling_, &mask);
  } else {
    const engine::TokenMask* mask = grammar_->mask();
    if (avoid_)
      mask = without_token(engine_.tokenizer(), *std::exchange(avoid_, std::nullopt), mask,
                           avoiding_);
    token = timeline_.next(sampling_, mask);
    if (token && n_tokens() < limits_.choices_max)
      choice = choice_of(*token, timeline_.logprobs(kBranchWidth), mask);
  }
  if (!token) {
    end_ = token.error().code == engine::Errc::cancelled  ? End::cancelled
           : token.error().code == engine::Errc::too_long ? End::context_full
                                                          : End::error;
    error_ = token.error().message;
    no_memory_ = token.error().code == engine::Errc::no_memory;
    return;
  }
  take(*token, thinking);
  choices_.push_back(std::move(choice));
  if (end_ == End::end || tokens_.size() % kPeriodCheckEvery != 0) return;
  const std::size_t n = std::min(tokens_.size(), kPeriodWindow);
  const std::size_t least = grammar_->in_calls()
                                ? std::max(limits_.period_min, kWrittenPeriodTokensMin)
                                : limits_.period_min;
  if (const auto period = find_period(std::span(tokens_).last(n), least)) {
    end_ = End::repetition;
    n_periodic_ = period->covered;
  }
}

void Answer::take(engine::Token token, bool thinking) {
  const bool in_calls = grammar_->in_calls();
  grammar_->accept(token);
  if (!in_calls && grammar_->in_calls())  // the end of the reasoning stands before them
    calls_at_ = tokens_.size() + (thinking ? 1 : 0);
  tokens_.push_back(token);
  n_thinking_ += thinking ? 1 : 0;
  if (grammar_->done() && grammar_->stuck()) {
    tokens_.pop_back();  // an end that is none
    end_ = End::error;
    error_ =
        "write the answer: its form allowed no token to come next, which is an error of Lares; ask "
        "again, or without a schema";
  } else if (grammar_->done() || (eos_ && token == *eos_)) {
    end_ = End::end;
  } else if (thinking && token == think_end_) {
    thought_bytes_ = undecoded_.size();
  } else {
    undecoded_ += engine_.tokenizer().bytes(token);
  }
}

void Answer::draw(std::stop_token stop) {
  if (end_ != End::open) return;  // what was kept is whole
  timeline_.end_waits_at(stop);
  if (stop.stop_requested())
    end_ = End::cancelled;
  else
    sample_one();
}

std::vector<engine::Event> Answer::events() {
  std::vector<engine::Event> events;
  const auto add = [&events](std::vector<engine::Event> more) {
    std::move(more.begin(), more.end(), std::back_inserter(events));
  };
  if (const auto thought = std::exchange(thought_bytes_, std::nullopt)) {
    add(parser_.feed(valid_utf8(std::string_view(undecoded_).substr(0, *thought))));
    add(parser_.end_thinking());
    undecoded_.erase(0, *thought);
  }
  const std::size_t whole = end_ == End::open ? undecoded_.size() - incomplete_tail(undecoded_)
                                              : undecoded_.size();
  add(parser_.feed(valid_utf8(std::string_view(undecoded_).substr(0, whole))));
  undecoded_.erase(0, whole);
  if (end_ != End::open) add(parser_.finish());
  return events;
}

// How many of the first n tokens stand before the call block and the opening bracket before its
// mark.
std::size_t Answer::n_before_calls(std::size_t n) const {
  if (!calls_at_ || n < *calls_at_) return n;
  n = *calls_at_;
  while (n > 0 && engine_.tokenizer().bytes(tokens_[n - 1]).find_first_not_of("\n<") ==
                      std::string_view::npos)
    --n;
  return n;
}

Kept Answer::before_repetition() const {
  const std::size_t before = tokens_.size() - n_periodic_, n = n_before_calls(before);
  Kept kept{{tokens_.begin(), tokens_.begin() + static_cast<std::ptrdiff_t>(n)}, std::nullopt};
  if (n == before) kept.avoid = tokens_[n];
  return kept;
}

std::vector<engine::Token> Answer::tokens() const {
  auto out = tokens_;
  if (end_ == End::end) return out;
  out.resize(n_before_calls(out.size()));  // half a call is no call
  if (grammar_->thinking() && think_end_) out.push_back(*think_end_);
  if (eos_) out.push_back(*eos_);
  return out;
}

void draw_otherwise(engine::Sampling& sampling, int draw) {
  sampling.seed += static_cast<std::uint64_t>(draw);
  const float hotter = kResampleTemperature +
                       kResampleTemperatureStep * static_cast<float>(draw - 1);
  sampling.temperature = std::max(sampling.temperature, std::min(hotter, 1.0f));
  sampling.min_p = std::max(sampling.min_p, kResampleMinP);
}

void draw_branch(engine::Sampling& sampling, int draw) {
  sampling.seed += static_cast<std::uint64_t>(draw);
}

engine::TokenMask only_token(const engine::Tokenizer& tokenizer, engine::Token token) {
  engine::TokenMask mask((static_cast<std::size_t>(tokenizer.vocab_size()) + 63) / 64);
  mask[static_cast<std::size_t>(token) / 64] |= std::uint64_t{1} << (token % 64);
  return mask;
}

const engine::TokenMask* without_token(const engine::Tokenizer& tokenizer, engine::Token token,
                                       const engine::TokenMask* mask, engine::TokenMask& into) {
  const auto n = static_cast<std::size_t>(tokenizer.vocab_size());
  into = mask ? *mask : engine::TokenMask((n + 63) / 64, ~std::uint64_t{0});
  if (!mask && n % 64 != 0) into.back() >>= 64 - n % 64;
  into[static_cast<std::size_t>(token) / 64] &= ~(std::uint64_t{1} << (token % 64));
  return std::ranges::any_of(into, [](std::uint64_t word) { return word != 0; }) ? &into : mask;
}

std::string_view reason_of(Answer::End end) {
  switch (end) {
    case Answer::End::open:
    case Answer::End::error:
      return protocol::reason::kError;
    case Answer::End::end:
      return protocol::reason::kEnd;
    case Answer::End::max_tokens:
      return protocol::reason::kMaxTokens;
    case Answer::End::cancelled:
      return protocol::reason::kCancelled;
    case Answer::End::context_full:
      return protocol::reason::kContextFull;
    case Answer::End::repetition:
      return protocol::reason::kRepetition;
  }
  return protocol::reason::kError;
}

}  // namespace lares::daemon
