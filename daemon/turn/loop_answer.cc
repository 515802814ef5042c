// One answer of a turn: drawn until it is kept, from another place or otherwise where it is not.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "daemon/protocol/redrawn.h"
#include "daemon/protocol/turn_reasons.h"
#include "daemon/turn/argument_choices.h"
#include "daemon/turn/foreseen_edit.h"
#include "daemon/turn/loop.h"
#include "daemon/turn/prefill.h"
#include "daemon/turn/shorten.h"

namespace lares::daemon {

using protocol::Item;

struct TurnLoop::Draw final : Drawing {
  TurnLoop& turn;
  std::function<void()> begin;  // makes the answer, on the engine's thread
  std::optional<Answer> answer;
  explicit Draw(TurnLoop& t) : turn(t) {}
  engine::Timeline& timeline() override { return *turn.timeline_; }
  bool draw() override {
    if (!answer) begin();
    answer->draw(turn.stop_.engine.get_token());
    return answer->end() == Answer::End::open;
  }
};

asio::awaitable<std::string> TurnLoop::kept_answer() {
  branches_ = {};
  given_up_ = {};
  n_begun_anew_ = 0;
  for (int draw = 0;; ++draw) {
    items_.begin_answer();
    auto answering = answer(draw);
    std::string reason = co_await std::move(answering);
    if (reason != kGivenUp) co_return reason;
    items_.drop_calls(fmt::format("{}the answer was drawn again.", kCutOff));
    items_.complete({.kind = "note", .text = std::string(given_up_)});
    if (!for_its_edit(given_up_)) ++n_begun_anew_;
  }
}

asio::awaitable<std::string> TurnLoop::answer(int draw, bool last) {
  drawn_ = {};
  std::optional<Branch> branch = for_its_edit(given_up_) ? branches_.next(draw) : std::nullopt;
  auto filled = branch     ? go_back_to(behind_transcript(branch->tokens))
                : draw > 0 ? go_back_to(transcript_.ids)
                           : fill(transcript_.ids);
  if (!co_await std::move(filled)) co_return failure_;
  const EngineHost::Person waits(host_);
  auto sampling = in_.settings.sampling;
  if (branch)
    draw_branch(sampling, draw), drawn_.parts = branch->parts;
  else if (draw > 0)
    draw_otherwise(sampling, draw);
  Draw drawing(*this);
  auto& answer = drawing.answer;
  Kept kept;
  if (branch) kept = {branch->tokens, std::nullopt, /*heard=*/false};
  begin_with(drawing, sampling, kept);
  auto sampled = sample(drawing);
  co_await std::move(sampled);
  usage_.generated -= static_cast<std::int64_t>(kept.tokens.size());
  const bool in_circles = answer->end() == Answer::End::repetition;
  if (in_circles) {
    auto again = draw_again(drawing, sampling);
    if (!co_await std::move(again)) {
      append_ids(answer->tokens());
      co_return failure_;
    }
  }
  items_.close();
  usage_.generated += answer->n_tokens();
  usage_.thinking += answer->n_thinking();
  usage_.decode_ms = std::chrono::duration_cast<std::chrono::milliseconds>(decode_).count();
  failure_message_ = answer->error();
  if (!last) {
    auto judging = why_given_up(*answer, draw);
    given_up_ = co_await std::move(judging);
    if (for_its_edit(given_up_) && !in_circles)
      branches_.add(answer->drawn(), answer->choices(), branch, draw);
    if (!given_up_.empty()) co_return std::string(kGivenUp);
  }
  std::vector<std::string> pending;
  if (answer->end() == Answer::End::end)
    pending.assign(items_.calls().size(), std::string(kUnknownOutcome));
  else
    items_.calls().clear();
  transcript_.results = pending;
  if (must_answer_ || summing_up_) drawn_.without_tools = true;
  if (summing_up_) drawn_.think_tokens_max = limits().think_tokens_max;
  if (drawn_.n_kept || drawn_.without_tools || !drawn_.parts.empty()) events_.drawn(drawn_);
  append_ids(answer->tokens());
  co_return std::string(reason_of(answer->end()));
}

asio::awaitable<std::string_view> TurnLoop::why_given_up(const Answer& answer, int draw) {
  if (answer.end() == Answer::End::repetition)
    co_return n_begun_anew_ < kResamplesMax ? kRedrawnCircles : "";
  if (answer.end() != Answer::End::end) co_return "";
  if (!items_.said_anything()) co_return n_begun_anew_ < kResamplesMax ? kRedrawnEmpty : "";
  if (draw >= kEditResamplesMax || usage_.generated > kEditResampleTokensMax) co_return "";
  const auto is_edit = [](const Call& call) {
    return !call.rejected && call.item.name == kEditTool;
  };
  const auto& calls = items_.calls();
  if (std::ranges::count_if(calls, is_edit) != 1)
    co_return "";  // what several come to together is not foreseen
  const Item& edit = std::ranges::find_if(calls, is_edit)->item;
  auto looking = run_.in_vain(edit);
  const std::string_view why = co_await std::move(looking);
  co_return why != kRedrawnBroken || draw < kBrokenResamplesMax ? why : "";
}

void TurnLoop::begin_with(Draw& drawing, const engine::Sampling& sampling, Kept kept) {
  drawing.begin = [this, &answer = drawing.answer, sampling, kept = std::move(kept)] {
    answer.emplace(engine_, *timeline_, grammar(), sampling, limits(), kept);
  };
  events_.state("decode");
}

Answer::Limits TurnLoop::limits() const {
  Answer::Limits limits{in_.settings.step_tokens_max, in_.settings.think_tokens_max,
                        context_limit(),
                        in_.settings.tools == ToolUse::all ? kEditResampleTokensMax : 0};
  if (summing_up_) {
    limits.tokens_max = std::min(limits.tokens_max, summary_tokens_max(context_limit()));
    limits.think_tokens_max = std::min(limits.think_tokens_max,
                                       limits.tokens_max / kSummaryThinkShare);
  }
  return limits;
}

asio::awaitable<bool> TurnLoop::draw_again(Draw& drawing, engine::Sampling sampling) {
  auto kept = drawing.answer->before_repetition();
  const std::int64_t n_dropped = drawing.answer->n_tokens() -
                                 static_cast<std::int64_t>(kept.tokens.size());
  items_.close();
  items_.drop_calls(fmt::format("{}the answer went in circles, and was drawn again.", kCutOff));
  items_.begin_answer();
  items_.complete(
      {.kind = "note",
       .text = fmt::format("the last {} tokens repeat themselves; drawn again from before them",
                           n_dropped)});
  auto gone_back = go_back_to(behind_transcript(kept.tokens));
  if (!co_await std::move(gone_back)) co_return false;
  usage_.generated += n_dropped;
  drawn_.n_kept = static_cast<std::int64_t>(kept.tokens.size()), drawn_.avoid = kept.avoid;
  drawn_.parts = up_to(std::move(drawn_.parts), *drawn_.n_kept);
  drawing.answer.reset();
  draw_otherwise(sampling, kResamplesMax + 1);
  begin_with(drawing, sampling, std::move(kept));
  auto sampled = sample(drawing);
  co_await std::move(sampled);
  items_.said_before(drawing.answer->kept_text());
  co_return true;
}

engine::GrammarOptions TurnLoop::grammar() const {
  engine::GrammarOptions grammar;
  grammar.tools = declared();
  grammar.calls_max = kCallsPerStepMax;
  if (!summing_up_) grammar.schema = in_.settings.answer_schema;
  grammar.json = grammar.schema != nullptr;
  // On the engine's thread; the session's tools do nothing meanwhile.
  grammar.oracle = [this](const std::string& tool, const std::string& key,
                          const engine::Arguments& so_far) {
    return argument_choices(tools_, engine_.info(), tool, key, so_far);
  };
  return grammar;
}

asio::awaitable<void> TurnLoop::sample(Draw& drawing) {
  auto& answer = drawing.answer;
  bool note_forced = false;
  int n_continued = 0;
  do {
    const Spent spent = co_await host_.draw(drawing);
    usage_.wait_ms += std::chrono::duration_cast<std::chrono::milliseconds>(spent.waited).count();
    decode_ += spent.ran;
    if (answer->end() == Answer::End::max_tokens && !summing_up_ &&
        n_continued < in_.settings.continuations_max) {
      ++n_continued;
      answer->go_on(in_.settings.step_tokens_max);
    }
    const TurnItems::Drawn drawn{answer->n_tokens(), answer->n_thinking()};
    for (auto& event : answer->events()) items_.hear(std::move(event), drawn);
    if (answer->think_forced() && !note_forced) {
      note_forced = true;
      items_.complete({.kind = "note",
                       .text = fmt::format("the reasoning was ended after {} tokens",
                                           limits().think_tokens_max)});
    }
  } while (answer->end() == Answer::End::open);
}

std::vector<engine::Token> TurnLoop::behind_transcript(
    std::span<const engine::Token> tokens) const {
  auto ids = transcript_.ids;
  ids.insert(ids.end(), tokens.begin(), tokens.end());
  return ids;
}

asio::awaitable<bool> TurnLoop::go_back_to(std::vector<engine::Token> ids) {
  const protocol::Usage before = usage_;
  auto filled = fill(ids);
  const bool done = co_await std::move(filled);
  usage_.prompt = before.prompt, usage_.cached = before.cached;
  co_return done;
}

asio::awaitable<bool> TurnLoop::fill(std::span<const engine::Token> ids) {
  const std::int64_t total = static_cast<std::int64_t>(ids.size());
  usage_.prompt = total;
  if (total + kClosingTokens >= context_limit()) {
    failure_ = protocol::reason::kContextFull;
    co_return false;
  }
  events_.state(host_.n_queued() > 0 ? "queued" : "prefill");
  OnPrefill told = [this, step = total_.steps](std::int64_t done, std::int64_t all) {
    events_.prefill(step, done, all);
  };
  auto filling = prefill(host_, timeline_, shared_, ids, stop_.engine.get_token(), std::move(told));
  const Prefilled done = co_await std::move(filling);
  usage_.wait_ms += std::chrono::duration_cast<std::chrono::milliseconds>(done.waited).count();
  prefill_ += done.ran;
  if (done.error) {
    // too_long too: not for the context, which holds it
    failure_ = done.error->code == engine::Errc::cancelled ? protocol::reason::kCancelled
                                                           : protocol::reason::kError;
    failure_message_ = done.error->message;
    usage_.prefilled += done.n_evaluated;
    co_return false;
  }
  usage_.prefill_ms = std::chrono::duration_cast<std::chrono::milliseconds>(prefill_).count();
  const std::int64_t n_evaluated = std::min(total,
                                            done.n_evaluated + std::exchange(n_read_ahead_, 0));
  usage_.prefilled += n_evaluated;
  usage_.cached += total - n_evaluated;
  if (shared_) shared_->count(total - n_evaluated, n_evaluated);
  co_return true;
}

std::vector<engine::ToolSpec> TurnLoop::declared() const {
  return must_answer_ || summing_up_ ? std::vector<engine::ToolSpec>()
                                     : declared_tools(tools_, in_.settings.tools, engine_.info());
}

}  // namespace lares::daemon
