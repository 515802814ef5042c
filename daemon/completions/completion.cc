#include "daemon/completions/completion.h"

#include <algorithm>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <fmt/format.h>

#include "daemon/completions/prompt_beginnings.h"
#include "daemon/state_dir.h"
#include "daemon/turn/prefill.h"
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

std::string_view name_of(GenerationEnd::Reason reason) {
  switch (reason) {
    case GenerationEnd::Reason::stop:
      return "stop";
    case GenerationEnd::Reason::calls:
      return "calls";
    case GenerationEnd::Reason::sequence:
      return "sequence";
    case GenerationEnd::Reason::length:
      return "length";
    case GenerationEnd::Reason::cancelled:
      return "cancelled";
    case GenerationEnd::Reason::ending:
      return "ending";
    case GenerationEnd::Reason::failed:
      return "failed";
  }
  return "failed";
}

std::vector<engine::Token> joined(std::vector<engine::Token> a,
                                  const std::vector<engine::Token>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

Completion::Completion(std::shared_ptr<GeneratorCore> of, std::unique_ptr<Queue::Place> place,
                       Rendered rendered, Wanted wanted, std::stop_token stop)
    : of_(std::move(of)),
      place_(std::move(place)),
      n_begun_(rendered.begun.size()),
      ids_(joined(std::move(rendered.prompt), rendered.begun)),
      grammar_(std::move(rendered.grammar)),
      wanted_(std::move(wanted)),
      gone_(std::move(stop), [this] { stop_.request_stop(); }),
      stops_(wanted_.stop),
      beginnings_(std::make_shared<PromptBeginnings>(of_)) {
  const engine::Tokenizer& tokenizer = of_->host.engine()->tokenizer();
  dsml_ = tokenizer.added(engine::kDsml), eos_ = tokenizer.added(engine::kEos),
  think_end_ = tokenizer.added(engine::kThinkEnd);
  of_->running.insert(this);
}

Completion::~Completion() { of_->running.erase(this); }

asio::awaitable<std::vector<GenerationEvent>> Completion::next() {
  if (over_) co_return std::vector<GenerationEvent>();
  const EngineHost::Person waits(of_->host);
  if (!timeline_) {
    auto turn = place_->turn(stop_.get_token());
    if (!co_await std::move(turn)) {
      finish(GenerationEnd::Reason::cancelled);
      co_return std::vector<GenerationEvent>();
    }
    auto evaluating = evaluate();
    if (!co_await std::move(evaluating)) co_return std::vector<GenerationEvent>();
  }
  while (fresh_.empty() && !over_) {
    const Spent spent = co_await of_->host.draw(*this);
    decode_ += spent.ran;
    if (stops_.found() || answer_->end() != Answer::End::open) finish();
  }
  co_return std::exchange(fresh_, {});
}

// ---- the prompt

asio::awaitable<bool> Completion::evaluate() {
  const auto prepare = [this] {  // its masks are made while the prompt is evaluated
    engine::Grammar::prepare(of_->host.engine()->tokenizer(), grammar_);
    return true;
  };
  co_await of_->host.run(prepare);
  auto filling = prefill(of_->host, timeline_, beginnings_, ids_, stop_.get_token(), nullptr);
  const Prefilled done = co_await std::move(filling);
  prefill_ = done.ran, n_evaluated_ = done.n_evaluated;
  if (!done.error) {
    prefilled_ = true;
    co_return true;
  }
  const auto keep = [this] {  // what there is of it, for whoever asks again
    beginnings_->offer(timeline_->prefix(static_cast<std::int64_t>(timeline_->tokens().size())));
    return true;
  };
  co_await of_->host.run(keep);
  const bool stopped = done.error->code == engine::Errc::cancelled;
  finish(stopped ? GenerationEnd::Reason::cancelled : GenerationEnd::Reason::failed,
         stopped ? "" : done.error->message);
  co_return false;
}

// ---- the answer

void Completion::begin_answer() {
  // Whoever asks again, because its connection broke or the answer did not please, begins shortly
  // before the end.
  beginnings_->offer(timeline_->prefix((prompt_tokens() - 1) / kPrefixEvery * kPrefixEvery));
  const auto n_begun = static_cast<std::int64_t>(n_begun_);
  const Answer::Limits limits{wanted_.tokens_max + n_begun, of_->options.think_tokens_max + n_begun,
                              of_->host.engine()->info().n_context_max};
  Kept kept;
  kept.tokens.assign(ids_.end() - static_cast<std::ptrdiff_t>(n_begun_), ids_.end());
  answer_.emplace(*of_->host.engine(), *timeline_, grammar_, wanted_.sampling, limits, kept);
  n_thinking_begun_ = answer_->n_thinking();
}

bool Completion::draw() {
  if (!answer_) begin_answer();
  const std::int64_t n_before = answer_->n_tokens(), n_thinking = answer_->n_thinking();
  answer_->draw(stop_.get_token());
  if (wanted_.n_logprobs >= 0 && answer_->n_tokens() > n_before)
    note_logprobs(answer_->n_thinking() > n_thinking);
  for (engine::Event& event : answer_->events()) hear(std::move(event));
  if (answer_->end() != Answer::End::open && !stops_.found()) flush();
  if (!told_ && !fresh_.empty())
    return told_ = true, false;  // the first words are worth a slice that ends early
  return answer_->end() == Answer::End::open && !stops_.found();
}

void Completion::note_logprobs(bool thinking) {
  const engine::Token token = timeline_->tokens().back();
  if (thinking || token == eos_) return;
  calling_ = calling_ || token == dsml_;
  if (calling_) return;
  const engine::Tokenizer& tokenizer = of_->host.engine()->tokenizer();
  const engine::Logprobs found = timeline_->logprobs(wanted_.n_logprobs);
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

void Completion::finish() {
  using Reason = GenerationEnd::Reason;
  if (stops_.found()) return finish(Reason::sequence, *stops_.found());
  switch (answer_->end()) {
    case Answer::End::end:
      if (!rejected_.empty()) return finish(Reason::failed, rejected_);
      return finish(calls_.empty() ? Reason::stop : Reason::calls);
    case Answer::End::max_tokens:
      return finish(Reason::length);
    case Answer::End::context_full:
      return finish(Reason::length, "the context is full");
    case Answer::End::repetition:
      return finish(Reason::length, "the same tokens again and again");
    case Answer::End::cancelled:
      return finish(Reason::cancelled);
    case Answer::End::open:
    case Answer::End::error:
      return finish(Reason::failed, answer_->error());
  }
}

void Completion::finish(GenerationEnd::Reason reason, std::string what) {
  over_ = true;
  end_.reason = reason == GenerationEnd::Reason::cancelled && of_->ending
                    ? GenerationEnd::Reason::ending
                    : reason;
  end_.what = std::move(what);
  end_.usage = {.prompt = prompt_tokens(),
                .cached = !timeline_   ? 0
                          : prefilled_ ? prompt_tokens() - n_evaluated_
                                       : beginnings_->n_found()};
  if (answer_)
    end_.usage.completion = answer_->n_tokens() - static_cast<std::int64_t>(n_begun_),
    end_.usage.reasoning = answer_->n_thinking() - n_thinking_begun_;
  of_->n_prompt += end_.usage.prompt, of_->n_cached += end_.usage.cached,
      of_->n_completion += end_.usage.completion;
  const double seconds = std::chrono::duration<double>(decode_).count();
  of_->log.event(
      "generation.end",
      {{"prompt", end_.usage.prompt},
       {"cached", end_.usage.cached},
       {"tokens", end_.usage.completion},
       {"prefill_ms", std::chrono::duration_cast<std::chrono::milliseconds>(prefill_).count()},
       {"decode_tps",
        fmt::format("{:.1f}",
                    seconds > 0 ? static_cast<double>(end_.usage.completion) / seconds : 0)},
       {"stop", name_of(end_.reason)}});
  const bool whole = reason == GenerationEnd::Reason::stop ||
                     reason == GenerationEnd::Reason::calls ||
                     (reason == GenerationEnd::Reason::length && calls_.empty());  // a block that
                                                                                   // was cut holds
                                                                                   // no calls as
                                                                                   // its tokens are
                                                                                   // kept
  if (whole && wanted_.replayable && rejected_.empty()) remember();
  if (answer_ && reason != GenerationEnd::Reason::failed &&
      reason != GenerationEnd::Reason::cancelled) {
    asio::co_spawn(of_->io, keep_end(of_, std::move(timeline_)), asio::detached);
  }
  answer_.reset();
  place_.reset();
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
