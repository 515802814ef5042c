#include "daemon/completions/completion.h"

#include <algorithm>
#include <utility>

#include "daemon/state_dir.h"
#include "engine/chat.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kJoinedBytesMax = 16 << 10;  // of one event
constexpr std::size_t kCallIdDigits = 24;

// Joined with the event before where that is of the same kind: a slice of time is one event, not
// one a token.
template <class Text>
void append(std::vector<GenerationEvent>& events, Text text) {
  if (auto* const last = events.empty() ? nullptr : std::get_if<Text>(&events.back());
      last && last->text.size() < kJoinedBytesMax) {
    last->text += text.text;
    std::move(text.logprobs.begin(), text.logprobs.end(), std::back_inserter(last->logprobs));
  } else {
    events.push_back(std::move(text));
  }
}

template <class... F>
struct Cases : F... {
  using F::operator()...;
};

std::vector<engine::Token> joined(std::vector<engine::Token> a,
                                  const std::vector<engine::Token>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

Completion::Completion(std::shared_ptr<GeneratorCore> of, std::unique_ptr<Queue::Place> place,
                       Rendered rendered, Wanted wanted, std::stop_token stop)
    : DrawnGeneration(std::move(of), std::move(place),
                      joined(std::move(rendered.prompt), rendered.begun), std::move(stop)),
      n_begun_(rendered.begun.size()),
      grammar_(std::move(rendered.grammar)),
      wanted_(std::move(wanted)),
      stops_(wanted_.stop) {
  const engine::Tokenizer& tokenizer = engine().tokenizer();
  dsml_ = tokenizer.added(engine::kDsml), eos_ = tokenizer.added(engine::kEos),
  think_end_ = tokenizer.added(engine::kThinkEnd);
}

// Its masks are made while the prompt is evaluated.
void Completion::prepare() { engine::Grammar::prepare(engine().tokenizer(), grammar_); }

// ---- the answer

void Completion::begin_answer() {
  offer_prompt();
  const auto n_begun = static_cast<std::int64_t>(n_begun_);
  const Answer::Limits limits{.tokens_max = wanted_.tokens_max + n_begun,
                              .think_tokens_max = of_->options.think_tokens_max + n_begun,
                              .context_max = engine().info().n_context_max,
                              .period_min = kWrittenPeriodTokensMin};
  Kept kept;
  kept.tokens.assign(ids_.end() - static_cast<std::ptrdiff_t>(n_begun_), ids_.end());
  answer_.emplace(engine(), timeline(), grammar_, wanted_.sampling, limits, kept);
  n_thinking_begun_ = answer_->n_thinking();
}

bool Completion::draw() {
  if (!answer_) begin_answer();
  const std::int64_t n_before = answer_->n_tokens(), n_thinking = answer_->n_thinking();
  answer_->draw(stopped());
  if (wanted_.n_logprobs >= 0 && answer_->n_tokens() > n_before)
    note_logprobs(answer_->n_thinking() > n_thinking);
  for (engine::Event& event : answer_->events()) hear(std::move(event));
  if (answer_->end() != Answer::End::open && !stops_.found()) flush();
  if (!told_ && !fresh_.empty())
    return told_ = true, false;  // the first words are worth a slice that ends early
  return answer_->end() == Answer::End::open && !stops_.found();
}

void Completion::note_logprobs(bool thinking) {
  const engine::Token token = timeline().tokens().back();
  if (thinking || token == eos_) return;
  calling_ = calling_ || token == dsml_;
  if (calling_) return;
  const engine::Tokenizer& tokenizer = engine().tokenizer();
  const engine::Logprobs found = timeline().logprobs(wanted_.n_logprobs);
  TokenLogprob out{.token = std::string(tokenizer.bytes(token)), .logprob = found.drawn, .top = {}};
  for (const auto& [id, logprob] : found.top)
    out.top.emplace_back(std::string(tokenizer.bytes(id)), logprob);
  logprobs_.push_back(std::move(out));
}

void Completion::hear(engine::Event event) {
  if (stops_.found()) return;
  std::visit(Cases{[&](engine::ReasoningDelta& e) {
                     reasoning_ += e.text;
                     append(fresh_, ReasoningText{.text = std::move(e.text)});
                   },
                   [&](engine::ContentDelta& e) { say(stops_.feed(e.text)); },
                   [&](engine::CallBegin& e) {
                     flush();
                     calls_.push_back({"call_" + random_hex(kCallIdDigits), e.name, ""});
                     fresh_.push_back(CallBegun{e.index, calls_.back().id, e.name});
                   },
                   [&](engine::ArgumentsDelta& e) {
                     if (auto* const last =
                             fresh_.empty() ? nullptr : std::get_if<CallArguments>(&fresh_.back());
                         last && last->json.size() < kJoinedBytesMax)
                       last->json += e.json;
                     else
                       fresh_.push_back(CallArguments{e.index, std::move(e.json)});
                   },
                   [&](engine::CallEnd& e) {
                     calls_.back().arguments = e.arguments;
                     fresh_.push_back(CallDone{e.index, calls_.back().id, calls_.back().name,
                                               std::move(e.arguments)});
                   },
                   [&](engine::CallRejected& e) { rejected_ = std::move(e.why); }},
             event);
}

void Completion::say(std::string text) {
  if (text.empty()) return;
  content_ += text;
  append(fresh_, ContentText{.text = std::move(text), .logprobs = std::exchange(logprobs_, {})});
}

// No stop sequence follows what was held back.
void Completion::flush() {
  say(stops_.finish());
  if (!logprobs_.empty())
    append(fresh_, ContentText{.text = "", .logprobs = std::exchange(logprobs_, {})});
}

// ---- the end

std::optional<DrawnGeneration::Ended> Completion::ended() const {
  if (stops_.found()) return Ended{Reason::sequence, *stops_.found()};
  switch (answer_->end()) {
    case Answer::End::open:
      return std::nullopt;
    case Answer::End::end:
      if (!rejected_.empty()) return Ended{Reason::failed, rejected_};
      return Ended{calls_.empty() ? Reason::stop : Reason::calls};
    case Answer::End::max_tokens:
      return Ended{Reason::length};
    case Answer::End::context_full:
      return Ended{Reason::context};
    case Answer::End::repetition:
      return Ended{Reason::length, "the same tokens again and again"};
    case Answer::End::cancelled:
      return Ended{Reason::cancelled};
    case Answer::End::error:
      break;
  }
  return Ended{Reason::failed, answer_->error(), answer_->no_memory()};
}

void Completion::count(GenerationUsage& usage) const {
  if (!answer_) return;
  usage.completion = answer_->n_tokens() - static_cast<std::int64_t>(n_begun_);
  usage.reasoning = answer_->n_thinking() - n_thinking_begun_;
}

bool Completion::conclude(Reason reason) {
  // a block that was cut holds no calls as its tokens are kept
  const bool whole = reason == Reason::stop || reason == Reason::calls ||
                     ((reason == Reason::length || reason == Reason::context) && calls_.empty());
  if (whole && wanted_.replayable && rejected_.empty()) remember();
  answer_.reset();
  return reason != Reason::failed && reason != Reason::cancelled && reason != Reason::ending;
}

void Completion::remember() {
  std::vector<engine::Token> ids = answer_->tokens();
  if (!ids.empty() && ids.back() == eos_) ids.pop_back();
  Sampled sampled{.prompt = hash_of(ids_),
                  .reasoning = reasoning_,
                  .content = content_,
                  .calls = calls_,
                  .reasoning_ids = {},
                  .said_ids = {}};
  auto said = ids.begin();
  if (grammar_.thinking) {
    said = std::ranges::find(ids, *think_end_);
    sampled.reasoning_ids.assign(ids.begin(), said);
    if (said != ids.end()) ++said;
  }
  sampled.said_ids.assign(said, ids.end());
  of_->sampled.add(std::move(sampled));
}

}  // namespace lares::daemon
