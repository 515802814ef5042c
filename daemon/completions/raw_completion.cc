#include "daemon/completions/raw_completion.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "daemon/completions/prompt_beginnings.h"
#include "daemon/utf8.h"
#include "engine/chat.h"

namespace lares::daemon {
namespace {

constexpr std::int64_t kFewTokens = 16;  // evaluated at once they cost little more than one

std::optional<Refusal> outside(const std::vector<engine::Token>& ids, std::string_view name,
                               int vocab_size) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    const std::string at = fmt::format("{}[{}]", name, i);
    return Refusal{Refusal::Kind::invalid,
                   fmt::format("read {}: it must be a token id from 0 to {}, not {}", at,
                               vocab_size - 1, ids[i]),
                   at};
  }
  return std::nullopt;
}

std::optional<engine::TokenMask> mask_of(const std::vector<engine::Token>& allowed,
                                         int vocab_size) {
  if (allowed.empty()) return std::nullopt;
  engine::TokenMask mask((static_cast<std::size_t>(vocab_size) + 63) / 64);
  for (const engine::Token id : allowed)
    mask[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << (id % 64);
  return mask;
}

}  // namespace

std::optional<Refusal> refusal_of(const RawPrompt& prompt, const engine::Engine& engine) {
  const engine::ModelInfo& info = engine.info();
  if (prompt.ids.empty())
    return Refusal{Refusal::Kind::invalid, "read prompt: it must be at least one token id",
                   "prompt"};
  if (auto refusal = outside(prompt.ids, "prompt", info.vocab_size)) return refusal;
  if (auto refusal = outside(prompt.allowed, "allowed_token_ids", info.vocab_size)) return refusal;
  const auto n = static_cast<std::int64_t>(prompt.ids.size());
  if (n > info.n_context_max - 1) return too_long(n, info.n_context_max - 1, "prompt");
  return std::nullopt;
}

RawCompletion::RawCompletion(std::shared_ptr<GeneratorCore> of, std::unique_ptr<Queue::Place> place,
                             RawPrompt prompt, std::stop_token stop)
    : DrawnGeneration(std::move(of), std::move(place), std::move(prompt.ids), std::move(stop)),
      sampling_(prompt.sampling),
      tokens_max_(prompt.tokens_max),
      n_logprobs_(prompt.n_logprobs),
      names_ids_(prompt.names_ids),
      allowed_(mask_of(prompt.allowed, engine().info().vocab_size)),
      eos_(engine().tokenizer().added(engine::kEos)) {}

// The next request often begins with this prompt and some of the answer, so with all of this
// prompt. Where few of its tokens were new, what it was found by serves that one too: a client that
// asks for a token at a time leaves a prefix a request, not two.
void RawCompletion::begin_answer() {
  begun_ = true;
  timeline().expect_logprobs(std::max(n_logprobs_, 0));
  offer_prompt();
  if (n_evaluated() > kFewTokens) offer(prompt_tokens());
}

bool RawCompletion::draw() {
  if (!begun_) begin_answer();
  timeline().end_waits_at(stopped());
  const bool first = n_drawn_ == 0;
  if (stopped().stop_requested()) {
    ended_ = {Reason::cancelled};
  } else if (const auto token = timeline().next(sampling_, allowed_ ? &*allowed_ : nullptr)) {
    take(*token);
  } else if (token.error().code == engine::Errc::cancelled) {
    ended_ = {Reason::cancelled};
  } else {
    ended_ = {Reason::failed, token.error().message, token.error().code == engine::Errc::no_memory};
  }
  say_what_is_whole();
  if (ended_) end_answer();
  return !ended_ && !first;  // the first one is worth a slice that ends early
}

void RawCompletion::take(engine::Token token) {
  ++n_drawn_;
  if (fresh_.empty()) fresh_.push_back(ContentText{});
  auto& said = std::get<ContentText>(fresh_.back());
  said.ids.push_back(token);
  if (n_logprobs_ >= 0) said.logprobs.push_back(logprobs_of(token));
  if (token == eos_) {
    ended_ = {Reason::stop};
    return;
  }
  undecoded_ += engine().tokenizer().bytes(token);
  const auto n = static_cast<std::int64_t>(timeline().tokens().size());
  if (n_drawn_ == tokens_max_)
    ended_ = {Reason::length};
  else if (n >= engine().info().n_context_max)
    ended_ = {Reason::context};
}

TokenLogprob RawCompletion::logprobs_of(engine::Token token) {
  const auto name = [&](engine::Token id) {
    return names_ids_ ? fmt::format("token_id:{}", id)
                      : std::string(engine().tokenizer().bytes(id));
  };
  const engine::Logprobs found = timeline().logprobs(n_logprobs_);
  TokenLogprob out{.token = name(token), .logprob = found.drawn, .top = {}};
  for (const auto& [id, logprob] : found.top) out.top.emplace_back(name(id), logprob);
  return out;
}

void RawCompletion::say_what_is_whole() {
  const std::size_t whole = undecoded_.size() - (ended_ ? 0 : incomplete_tail(undecoded_));
  if (whole == 0) return;
  if (fresh_.empty()) fresh_.push_back(ContentText{});
  std::get<ContentText>(fresh_.back()).text +=
      valid_utf8(std::string_view(undecoded_).substr(0, whole));
  undecoded_.erase(0, whole);
}

// Whoever goes on from before the end begins shortly before it.
void RawCompletion::end_answer() {
  const auto n = static_cast<std::int64_t>(timeline().tokens().size());
  const std::int64_t at = (n - 2) / kPrefixEvery * kPrefixEvery;  // n - 1 are evaluated, and kept
  if (at > prompt_tokens()) offer(at);
}

// Also of an answer that nobody read to its end: who hung up has what came, and goes on from there.
bool RawCompletion::conclude(Reason reason) {
  return n_drawn_ > 0 && reason != Reason::failed && reason != Reason::ending;
}

}  // namespace lares::daemon
