#include "daemon/answer.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "daemon/repetition.h"
#include "daemon/utf8.h"

namespace lares::daemon {
Answer::Answer(const engine::Engine& engine, engine::Timeline& timeline, engine::GrammarOptions grammar,
               engine::Sampling sampling, Limits limits)
    : engine_(engine),
      timeline_(timeline),
      sampling_(sampling),
      limits_(limits),
      parser_({.thinking = grammar.thinking, .tools = grammar.tools}),
      eos_(engine.tokenizer().added(engine::kEos)),
      think_end_(engine.tokenizer().added(engine::kThinkEnd)) {
  grammar_ = engine::Grammar::make(engine.tokenizer(), std::move(grammar));
}

engine::TokenMask Answer::only(engine::Token token) const {
  engine::TokenMask mask((static_cast<std::size_t>(engine_.tokenizer().vocab_size()) + 63) / 64);
  mask[static_cast<std::size_t>(token) / 64] |= std::uint64_t{1} << (token % 64);
  return mask;
}

void Answer::sample_one() {
  if (n_tokens() >= limits_.tokens_max) {
    end_ = End::max_tokens;
    return;
  }
  if (static_cast<std::int64_t>(timeline_.tokens().size()) + kClosingTokens >= limits_.context_max) {
    end_ = End::context_full;
    return;
  }
  const bool thinking = grammar_->thinking();
  engine::Result<engine::Token> token = tl::unexpected(engine::Error{});
  if (thinking && think_end_ && n_thinking_ >= limits_.think_tokens_max) {
    think_forced_ = true;
    const auto mask = only(*think_end_);
    token = timeline_.next(sampling_, &mask);
  } else {
    token = timeline_.next(sampling_, grammar_->mask());
  }
  if (!token) {
    end_ = token.error().code == engine::Errc::cancelled  ? End::cancelled
           : token.error().code == engine::Errc::too_long ? End::context_full
                                                          : End::error;
    error_ = token.error().message;
    return;
  }
  const bool in_calls = grammar_->in_calls();
  grammar_->accept(*token);
  if (!in_calls && grammar_->in_calls()) calls_at_ = tokens_.size();
  tokens_.push_back(*token);
  n_thinking_ += thinking ? 1 : 0;
  if (grammar_->done() || (eos_ && *token == *eos_)) {
    end_ = End::end;
    return;
  }
  undecoded_ += engine_.tokenizer().bytes(*token);
  if (tokens_.size() % kPeriodCheckEvery == 0) {
    const std::size_t n = std::min(tokens_.size(), kPeriodWindow);
    if (find_period(std::span(tokens_).last(n))) end_ = End::repetition;
  }
}

void Answer::draw(std::stop_token stop) {
  if (stop.stop_requested()) end_ = End::cancelled;
  else sample_one();
}

std::vector<engine::Event> Answer::events() {
  const std::size_t whole = end_ == End::open ? undecoded_.size() - incomplete_tail(undecoded_) : undecoded_.size();
  auto events = parser_.feed(valid_utf8(std::string_view(undecoded_).substr(0, whole)));
  undecoded_.erase(0, whole);
  if (end_ == End::open) return events;
  auto rest = parser_.finish();
  std::move(rest.begin(), rest.end(), std::back_inserter(events));
  return events;
}

std::vector<engine::Token> Answer::tokens() const {
  auto out = tokens_;
  if (end_ == End::end) return out;
  if (calls_at_) {  // half a call is no call, nor is the opening bracket before its mark
    out.resize(std::min(out.size(), *calls_at_));
    const auto opener = [&](engine::Token t) { return engine_.tokenizer().bytes(t).find_first_not_of("\n<") == std::string_view::npos; };
    while (!out.empty() && opener(out.back())) out.pop_back();
  }
  if (grammar_->thinking() && think_end_) out.push_back(*think_end_);
  if (eos_) out.push_back(*eos_);
  return out;
}

std::string_view reason_of(Answer::End end) {
  switch (end) {
    case Answer::End::open:
    case Answer::End::error: return "error";
    case Answer::End::end: return "end";
    case Answer::End::max_tokens: return "max_tokens";
    case Answer::End::cancelled: return "cancelled";
    case Answer::End::context_full: return "context_full";
    case Answer::End::repetition: return "repetition";
  }
  return "error";
}

}  // namespace lares::daemon
