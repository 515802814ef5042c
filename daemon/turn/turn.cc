#include "daemon/turn/turn.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include <boost/asio/this_coro.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/protocol/redrawn.h"
#include "daemon/turn/answer.h"
#include "daemon/turn/argument_choices.h"
#include "daemon/turn/branches.h"
#include "daemon/turn/calls.h"
#include "daemon/turn/foreseen_edit.h"
#include "daemon/turn/items.h"
#include "daemon/turn/prefill.h"
#include "daemon/turn/prompt.h"
#include "daemon/turn/read_ahead.h"
#include "daemon/turn/shorten.h"
#include "daemon/turn/until_stopped.h"
#include "daemon/utf8.h"
#include "engine/chat.h"
#include "tools/builtin.h"

namespace lares::daemon {
namespace {

using Clock = std::chrono::steady_clock;
using protocol::Item;

constexpr std::string_view kGivenUp = "given up";  // of an answer: another is drawn in its place
constexpr std::size_t kWhyBytesMax = 200;          // of a failure, in a turn's last line
constexpr std::string_view kGoOn = "Go on with the next step.",
                           kDoWhatWasAsked = "Now do what was asked last.";

std::int64_t ms_since(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
}

using Call = TurnItems::Call;

class Turn {
 public:
  Turn(EngineHost& host, const Tools& tools, Transcript& transcript,
       std::unique_ptr<engine::Timeline>& timeline, TurnEvents& events, TurnStop& stop,
       TurnInput input, std::shared_ptr<SharedBeginning> shared)
      : host_(host),
        engine_(*host.engine()),
        tools_(tools),
        transcript_(transcript),
        timeline_(timeline),
        events_(events),
        stop_(stop),
        in_(std::move(input)),
        items_(events_, in_.turn_id),
        run_(tools_, events_, stop_, in_),
        shared_(std::move(shared)) {}

  asio::awaitable<TurnResult> run() {
    const auto began = Clock::now();
    if (!in_.said.prompt_id.empty())
      items_.complete({.kind = "user", .text = in_.said.text, .prompt_id = in_.said.prompt_id});
    for (const auto& note : in_.notes) items_.complete({.kind = "note", .text = note});
    if (!in_.beginning.segments.empty()) {
      const auto ids = tokens_of(in_.beginning);
      if (can_hold(static_cast<std::int64_t>(ids.size()))) append(ids);
    } else if (can_hold(n_least())) {
      std::vector<std::string> said = co_await what_happened();
      said.push_back(in_.said.text);
      const std::vector<std::string> results = transcript_.results;
      auto going_on = go_on(results, said, /*with_task=*/true);
      co_await std::move(going_on);
    }
    while (result_.reason.empty()) co_await step();
    result_.usage = total_;
    result_.usage.tool_ms = run_.ran_ms();
    result_.usage.total_ms = ms_since(began);
    co_return result_;
  }

 private:
  // ---- one step: an answer, and what it calls

  asio::awaitable<void> step() {
    if (total_.steps >= in_.settings.steps_max) {
      end("max_steps",
          fmt::format("{} steps; a prompt such as `go on` continues", in_.settings.steps_max));
      co_return;
    }
    ++total_.steps;
    usage_ = {.steps = 1};
    std::string reason;
    branches_ = {};
    given_up_ = {};
    n_begun_anew_ = 0;
    for (int draw = 0;; ++draw) {
      items_.begin_answer();
      reason = co_await answer(draw);
      if (reason != kGivenUp) break;
      items_.drop_calls(fmt::format("{}the answer was drawn again.", kCutOff));
      items_.complete({.kind = "note", .text = std::string(given_up_)});
      if (!for_its_edit(given_up_)) ++n_begun_anew_;
    }
    if (reason == "end" && !items_.calls().empty()) reason = "calls";
    finish_step(reason);
    if (reason == "calls") {
      co_await run_calls();
    } else if (reason == "end" && must_answer_) {
      end(why_stuck_.first, why_stuck_.second);
    } else if (reason == "end") {
      auto more = hear(events_.steering());  // came too late for this turn's results: the turn goes
                                             // on with it
      if (more.empty()) {
        auto asked = asked_to_go_on();
        more = co_await std::move(asked);
      }
      if (stop_.requested()) {
        end("cancelled", "");
      } else if (result_.reason.empty() && more.empty()) {
        end("end_turn", "");
      } else if (!more.empty()) {
        auto going_on = go_on({}, more, /*with_task=*/true);
        co_await std::move(going_on);
      }
    } else if (reason == "context_full" && in_.begin_anew && !must_answer_ &&
               n_overflown_ < kContinuationsMax) {
      ++n_overflown_;
      items_.complete(
          {.kind = "note",
           .text = fmt::format("the answer filled the context of {} tokens; the turn goes on",
                               context_limit())});
      auto going_on = go_on({}, {std::string(kGoOn)}, /*with_task=*/true);
      co_await std::move(going_on);
    } else {
      end(reason, explain(reason));
    }
  }

  // By those who look at its work when the model has finished; nothing: they are content, or it has
  // been sent back often enough, and the turn ends.
  asio::awaitable<std::vector<std::string>> asked_to_go_on() {
    std::vector<std::string> more;
    if (in_.at_end) {
      auto asked = until_stopped(stop_, in_.at_end());
      if (auto text = co_await std::move(asked); text && !text->empty())
        more.push_back(std::move(*text));
    }
    if (more.empty() && in_.check && run_.worked() && !stop_.requested()) {
      events_.state("tool");
      auto asked = until_stopped(stop_, in_.check());
      std::optional<Checked> found = co_await std::move(asked);
      Checked checked;  // stopped meanwhile: nothing more is asked
      if (found) checked = std::move(*found);
      if (checked.done && !checked.text.empty())
        items_.complete({.kind = "note", .text = checked.text});
      if (!checked.known) end("unfinished", checked.text.substr(0, checked.text.find('\n')));
      if (checked.done) co_return more;
      if (++n_sent_back_ > kSentBackMax)
        end("unfinished", checked.text.substr(0, checked.text.find('\n')) +
                              "; a prompt such as `go on` continues");
      else
        more.push_back(std::move(checked.text));
    }
    for (const auto& text : more) items_.complete({.kind = "note", .text = text});
    co_return more;
  }

  struct Draw final : Drawing {
    Turn& turn;
    std::function<void()> begin;  // makes the answer, on the engine's thread
    std::optional<Answer> answer;
    explicit Draw(Turn& t) : turn(t) {}
    engine::Timeline& timeline() override { return *turn.timeline_; }
    bool draw() override {
      if (!answer) begin();
      answer->draw(turn.stop_.engine.get_token());
      return answer->end() == Answer::End::open;
    }
  };

  // Fills the timeline, samples one answer and appends it to the transcript. Returns the step's
  // reason, or kGivenUp: nothing was appended.
  asio::awaitable<std::string> answer(int draw, bool last = false) {
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

  // For another; empty: it is kept. `draw`: of those before it.
  asio::awaitable<std::string_view> why_given_up(const Answer& answer, int draw) {
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

  void begin_with(Draw& drawing, const engine::Sampling& sampling, Kept kept) {
    drawing.begin = [this, &answer = drawing.answer, sampling, kept = std::move(kept)] {
      answer.emplace(engine_, *timeline_, grammar(), sampling, limits(), kept);
    };
    events_.state("decode");
  }

  Answer::Limits limits() const {
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

  // Once, of an answer that goes in circles: from before the circle. False: failure_ says why, and
  // the answer is as it was.
  asio::awaitable<bool> draw_again(Draw& drawing, engine::Sampling sampling) {
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

  engine::GrammarOptions grammar() const {
    engine::GrammarOptions grammar;
    grammar.tools = declared();
    grammar.calls_max = kCallsPerStepMax;
    // On the engine's thread; the session's tools do nothing meanwhile.
    grammar.oracle = [this](const std::string& tool, const std::string& key,
                            const engine::Arguments& so_far) {
      return argument_choices(tools_, engine_.info(), tool, key, so_far);
    };
    return grammar;
  }

  // To the answer's end, and beyond the limit of one answer as often as the settings allow.
  asio::awaitable<void> sample(Draw& drawing) {
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

  std::vector<engine::Token> behind_transcript(std::span<const engine::Token> tokens) const {
    auto ids = transcript_.ids;
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    return ids;
  }

  // Where the timeline has been already.
  asio::awaitable<bool> go_back_to(std::vector<engine::Token> ids) {
    const protocol::Usage before = usage_;
    auto filled = fill(ids);
    const bool done = co_await std::move(filled);
    usage_.prompt = before.prompt, usage_.cached = before.cached;
    co_return done;
  }

  // Makes the timeline end with `ids`. False: failure_ says why.
  asio::awaitable<bool> fill(std::span<const engine::Token> ids) {
    const std::int64_t total = static_cast<std::int64_t>(ids.size());
    usage_.prompt = total;
    if (total + kClosingTokens >= context_limit()) {
      failure_ = "context_full";
      co_return false;
    }
    events_.state(host_.n_queued() > 0 ? "queued" : "prefill");
    OnPrefill told = [this, step = total_.steps](std::int64_t done, std::int64_t all) {
      events_.prefill(step, done, all);
    };
    auto filling = prefill(host_, timeline_, shared_, ids, stop_.engine.get_token(),
                           std::move(told));
    const Prefilled done = co_await std::move(filling);
    usage_.wait_ms += std::chrono::duration_cast<std::chrono::milliseconds>(done.waited).count();
    prefill_ += done.ran;
    if (done.error) {
      failure_ = done.error->code == engine::Errc::cancelled  ? "cancelled"
                 : done.error->code == engine::Errc::too_long ? "context_full"
                                                              : "error";
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

  void finish_step(const std::string& reason) {
    usage_.context = static_cast<std::int64_t>(transcript_.ids.size());
    usage_.context_max = context_limit();
    events_.step(total_.steps, reason, usage_);
    total_.prompt = usage_.prompt;
    total_.context = usage_.context, total_.context_max = usage_.context_max;
    total_.cached += usage_.cached, total_.prefilled += usage_.prefilled;
    total_.generated += usage_.generated, total_.thinking += usage_.thinking;
    total_.prefill_ms += usage_.prefill_ms, total_.decode_ms += usage_.decode_ms,
        total_.wait_ms += usage_.wait_ms;
    decode_ = prefill_ = {};
  }

  // ---- what it calls

  asio::awaitable<void> run_calls() {
    std::vector<std::string> results, reminders;
    bool stuck = false;
    for (Call& call : items_.calls()) {
      if (call.rejected) {
        results.push_back(call.item.output);
        continue;
      }
      if (stop_.requested() || !run_.why_broken().empty()) {
        run_.cancel(call.item);
        results.push_back(call.item.output);
        continue;
      }
      auto running = run_call(call.item, results);
      const TurnCalls::Made made = co_await std::move(running);
      results.push_back(call.item.output);
      const std::string reminder = made.disk ? std::string(kDiskReminder)
                                             : call_reminder(call.item.name, made.n);
      if (!reminder.empty()) {
        items_.complete({.kind = "note", .text = reminder});
        reminders.push_back(reminder);
      }
      if (made.n >= kCallsStop && !std::exchange(stuck, true)) why_stuck_ = in_circles(made, call);
    }
    transcript_.results = results;
    if (const std::string& broken = run_.why_broken(); !broken.empty() || stop_.requested()) {
      append_ids({});  // the results wait for the next prompt
      if (!broken.empty())
        end("error", broken);
      else
        end("cancelled", "");
      co_return;
    }
    must_answer_ = stuck;
    for (auto& text : co_await what_happened()) reminders.push_back(std::move(text));
    for (auto& text : hear(events_.steering())) reminders.push_back(std::move(text));
    auto going_on = go_on(results, reminders, /*with_task=*/false);
    co_await std::move(going_on);
  }

  // The turn's reason and message.
  static std::pair<std::string, std::string> in_circles(const TurnCalls::Made& made,
                                                        const Call& call) {
    std::string_view why =
        std::string_view(call.item.output).substr(0, call.item.output.find('\n'));
    why = utf8_prefix(why, kWhyBytesMax);
    if (made.disk) return {"error", std::string(why)};
    if (made.failed)
      return {"repetition",
              fmt::format("the same call of {} failed {} times: {}", call.item.name, made.n, why)};
    return {"repetition", fmt::format("the same call was made {} times", made.n)};
  }

  // `results`: of the answer's calls before it.
  asio::awaitable<TurnCalls::Made> run_call(Item& item, const std::vector<std::string>& results) {
    const auto io = co_await asio::this_coro::executor;
    ReadAhead ahead(io, host_, timeline_, transcript_.ids, results);
    const tools::OnOutput heard = [&](const std::string& piece) {
      if (item.name == tools::kBashTool) ahead.hear(piece);
    };
    TurnCalls::Made made;
    std::exception_ptr thrown;
    try {
      auto running = run_.run(item, heard);
      made = co_await std::move(running);
    } catch (...) {
      thrown = std::current_exception();
    }
    auto ending = ahead.end();
    const Prefilled spent = co_await std::move(ending);
    n_read_ahead_ += spent.n_evaluated;
    prefill_ += spent.ran;
    if (thrown) std::rethrow_exception(thrown);
    co_return made;
  }

  // Since the model last heard of it: what others changed, what its jobs did.
  asio::awaitable<std::vector<std::string>> what_happened() {
    std::vector<std::string> out;
    if (in_.changes) {
      auto asked = in_.changes();
      if (auto changes = co_await std::move(asked); !changes.empty())
        out.push_back(std::move(changes));
    }
    for (const auto& tool : tools_) {
      auto asked = until_stopped(stop_, tool->news());
      const auto told = co_await std::move(asked);
      if (!told || told->empty()) continue;
      std::string news = valid_utf8(*told);
      items_.complete({.kind = "note", .text = news});
      out.push_back(std::move(news));
    }
    co_return out;
  }

  // Of the prompt that this turn begins with, however much of the conversation is left out.
  std::int64_t n_least() const {
    const auto bytes = static_cast<std::int64_t>(in_.said.text.size());
    if (in_.n_repository + bytes + kClosingTokens < context_limit())
      return in_.n_repository + bytes;  // tokens are fewer
    return in_.n_repository +
           static_cast<std::int64_t>(
               engine_.tokenizer().encode(in_.said.text, /*added=*/false).size());
  }

  // False: the turn has ended, and the transcript knows nothing of it.
  bool can_hold(std::int64_t n_prompt) {
    if (n_prompt + kClosingTokens < context_limit()) return true;
    end("error", fmt::format("read the prompt: {} tokens with the {} of the repository, and the "
                             "context has {}; say less, or put it into a file of the repository",
                             n_prompt, in_.n_repository, context_limit()));
    return false;
  }

  // What the model may call.
  std::vector<engine::ToolSpec> declared() const {
    return must_answer_ || summing_up_ ? std::vector<engine::ToolSpec>()
                                       : declared_tools(tools_, in_.settings.tools);
  }

  // ---- the transcript

  // The model reads the results of its calls and what is said to it; `with_task`: that is what it
  // has to do now.
  asio::awaitable<void> go_on(std::vector<std::string> results, std::vector<std::string> said,
                              bool with_task) {
    auto ids = behind_answer(results, said);
    const auto n_prompt = static_cast<std::int64_t>(transcript_.ids.size() + ids.size());
    if (in_.begin_anew && is_crowded(n_prompt, in_.n_repository, context_limit())) {
      auto shortening = shorten(std::move(results), std::move(said), with_task);
      const Shortened done = co_await std::move(shortening);
      if (done == Shortened::anew || (done == Shortened::no && !can_hold(n_prompt))) co_return;
      const std::string next(with_task ? kDoWhatWasAsked : kGoOn);
      if (!result_.reason.empty()) co_return;  // stopped: nothing is to be answered any more
      if (done == Shortened::asked) ids = behind_answer({}, {next});
    }
    append(ids);
  }

  // What the model reads next, as tokens behind the transcript. An answer that was never drawn, for
  // the turn was stopped or the daemon died while its prompt was evaluated, is closed first: no
  // turn that the model was trained on begins within a thought.
  std::vector<engine::Token> behind_answer(const std::vector<std::string>& results,
                                           const std::vector<std::string>& said) const {
    const engine::Tokenizer& tokenizer = engine_.tokenizer();
    std::vector<engine::Token> ids;
    const auto eos = tokenizer.added(engine::kEos), think_end = tokenizer.added(engine::kThinkEnd);
    if (eos && think_end && !transcript_.ids.empty() && transcript_.ids.back() != *eos)
      ids = {*think_end, *eos};
    const auto more = tokenizer.encode(continue_session(results, said));
    ids.insert(ids.end(), more.begin(), more.end());
    return ids;
  }

  enum class Shortened {
    anew,   // the transcript has begun anew, with what is said
    asked,  // all there is stays; what is said stands in it, with the request for a summary
    no,     // all there is stays, and nothing has been added
  };
  // Begins the transcript anew, with a summary of what it was, if it can; where the turn was
  // stopped meanwhile it has ended.
  asio::awaitable<Shortened> shorten(std::vector<std::string> results,
                                     std::vector<std::string> said, bool with_task) {
    const std::size_t n_used = transcript_.ids.size();
    std::vector<std::string> asked = said;
    asked.push_back(summary_request());
    auto request = behind_answer(results, asked);
    const auto room_before = [&] {
      return context_limit() - summary_tokens_max(context_limit()) - kClosingTokens -
             static_cast<std::int64_t>(request.size());
    };
    std::int64_t room = room_before();
    const auto n_bytes = static_cast<std::size_t>(context_limit() / kBytesShare);
    if (room < static_cast<std::int64_t>(transcript_.ids.size()) && clip(results, n_bytes)) {
      request = behind_answer(results, asked);  // rather than of the conversation
      room = room_before();
    }
    if (room < static_cast<std::int64_t>(transcript_.ids.size())) {
      if (room <= in_.n_repository) co_return Shortened::no;
      drop_the_end(room);
      request = behind_answer(results, asked);
    }
    items_.complete({.kind = "note",
                     .text = fmt::format("{} of {} tokens are used: the conversation is summed up "
                                         "and begun anew; the repository stays",
                                         n_used, context_limit())});
    append(request);
    summing_up_ = true;
    ++total_.steps;
    usage_ = {.steps = 1};
    items_.begin_answer();
    auto answering = answer(0, /*last=*/true);
    const std::string reason = co_await std::move(answering);
    summing_up_ = false;
    finish_step(reason);
    if (reason == "cancelled") end(reason, "");
    if ((reason != "end" && reason != "max_tokens") || items_.said().empty())
      co_return Shortened::asked;
    std::string next;
    for (const auto& text : said) next += (next.empty() ? "" : "\n\n") + text;
    if (!with_task) next += (next.empty() ? "" : "\n\n") + std::string(kGoOn);
    auto beginning_anew = in_.begin_anew(items_.said(), std::move(next));
    const std::optional<Beginning> beginning = co_await std::move(beginning_anew);
    if (!beginning) co_return Shortened::asked;
    auto ids = tokens_of(*beginning);
    if (ids.size() >= transcript_.ids.size()) co_return Shortened::asked;
    begin_transcript(std::move(ids));
    if (beginning->shared_ids)
      in_.n_repository = static_cast<std::int64_t>(beginning->shared_ids->size());
    co_return Shortened::anew;
  }

  // So long was the last answer that not even a summary has room behind it: its end is not summed
  // up.
  void drop_the_end(std::int64_t n_ids) {
    std::vector<engine::Token> ids(transcript_.ids.begin(),
                                   transcript_.ids.begin() + std::max<std::int64_t>(0, n_ids - 1));
    if (const auto eos = engine_.tokenizer().added(engine::kEos)) ids.push_back(*eos);
    begin_transcript(std::move(ids));
  }

  void begin_transcript(std::vector<engine::Token> ids) {
    Transcript before = std::exchange(transcript_, {ids, {}});
    timeline_ = nullptr;  // another shares the repository's pages, at any place
    events_.shortened(std::move(before), ids);
  }

  std::vector<engine::Token> tokens_of(const Beginning& beginning) const {
    std::vector<engine::Token> ids;
    if (beginning.shared_ids) ids = *beginning.shared_ids;
    const auto more = engine_.tokenizer().encode(beginning.segments);
    ids.insert(ids.end(), more.begin(), more.end());
    return ids;
  }

  void append(const std::vector<engine::Token>& ids) {
    transcript_.results.clear();
    append_ids(ids);
  }
  void append_ids(const std::vector<engine::Token>& ids) {
    transcript_.ids.insert(transcript_.ids.end(), ids.begin(), ids.end());
    events_.appended(ids, transcript_.results);
  }

  std::vector<std::string> hear(const std::vector<Said>& steering) {
    std::vector<std::string> texts;
    for (const auto& said : steering) {
      items_.complete({.kind = "user", .text = said.text, .prompt_id = said.prompt_id});
      texts.push_back(said.text);
    }
    return texts;
  }

  std::int64_t context_limit() const { return engine_.info().n_context_max; }

  std::string explain(const std::string& reason) const {
    if (reason == "cancelled") return "";  // the engine's word for it says no more
    if (reason == "max_tokens") return fmt::format("{} tokens", in_.settings.step_tokens_max);
    if (reason == "context_full") {
      return fmt::format(
          "{} tokens; {}", context_limit(),
          in_.begin_anew ? "a prompt such as `go on` continues" : "begin a new session");
    }
    if (reason == "repetition") return "the same tokens again and again in one answer";
    return failure_message_;
  }

  void end(std::string reason, std::string message) {
    if (reason == "error") items_.complete({.kind = "error", .text = message});
    result_.reason = std::move(reason), result_.message = std::move(message);
  }

  EngineHost& host_;
  engine::Engine& engine_;
  const Tools& tools_;
  Transcript& transcript_;
  std::unique_ptr<engine::Timeline>& timeline_;
  TurnEvents& events_;
  TurnStop& stop_;
  TurnInput in_;
  TurnItems items_;
  TurnCalls run_;
  std::shared_ptr<SharedBeginning> shared_;  // null: nothing is shared
  TurnResult result_;
  protocol::Usage total_, usage_;
  Clock::duration decode_{}, prefill_{};
  std::int64_t n_read_ahead_ = 0;  // tokens of the next prompt, evaluated while a command ran
  int n_sent_back_ = 0;            // times, by who checked its work
  int n_overflown_ = 0;            // answers that were longer than the context
  bool summing_up_ = false;
  Drawn drawn_;                // the present answer
  Branches branches_;          // of the step's answers that were given up
  std::string_view given_up_;  // why the step's last answer was, for another; empty: it was not
  int n_begun_anew_ = 0;       // times in the step, after an empty answer or one in circles
  bool must_answer_ = false;   // it goes in circles: one answer more, without tools
  std::pair<std::string, std::string> why_stuck_;
  std::string failure_, failure_message_;
};

}  // namespace

std::vector<engine::ToolSpec> declared_tools(const Tools& tools, ToolUse use) {
  if (use == ToolUse::none) return {};
  std::vector<engine::ToolSpec> out = catalogue();
  if (use == ToolUse::all) return out;
  std::erase_if(out, [&](const engine::ToolSpec& spec) {
    const tools::Tool* const tool = find_tool(tools, spec.name);
    return !tool || tool->mutates(nlohmann::json::object());
  });
  return out;
}

asio::awaitable<TurnResult> run_turn(EngineHost& host, const Tools& tools, Transcript& transcript,
                                     std::unique_ptr<engine::Timeline>& timeline,
                                     TurnEvents& events, TurnStop& stop, TurnInput input,
                                     std::shared_ptr<SharedBeginning> shared) {
  Turn turn(host, tools, transcript, timeline, events, stop, std::move(input), std::move(shared));
  co_return co_await turn.run();
}

}  // namespace lares::daemon
