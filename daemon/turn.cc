#include "daemon/turn.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>
#include <variant>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/answer.h"
#include "daemon/prompt.h"
#include "daemon/repetition.h"
#include "daemon/utf8.h"
#include "engine/chat.h"

namespace lares::daemon {
namespace {

using Clock = std::chrono::steady_clock;
using protocol::Item;

constexpr std::chrono::milliseconds kPrefillReportEvery{100};
constexpr std::string_view kCancelledCall = "The user interrupted this call.";

std::int64_t ms_since(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
}

// A tool reports what goes wrong; what it throws is a cancellation, or its bug.
tools::Error stopped_by(std::exception_ptr thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const boost::system::system_error& e) {
    if (e.code() == asio::error::operation_aborted) return {tools::Errc::cancelled, "cancelled"};
    return {tools::Errc::broken, e.what()};
  } catch (const std::exception& e) {
    return {tools::Errc::broken, e.what()};
  }
}

struct Call {
  Item item;
  bool rejected = false;
};

class Turn {
 public:
  Turn(EngineHost& host, const Tools& tools, Transcript& transcript, std::unique_ptr<engine::Timeline>& timeline,
       TurnEvents& events, TurnStop& stop, TurnInput input, std::shared_ptr<SharedBeginning> shared)
      : host_(host), engine_(*host.engine()), tools_(tools), transcript_(transcript), timeline_(timeline), events_(events),
        stop_(stop), in_(std::move(input)), shared_(std::move(shared)) {}

  asio::awaitable<TurnResult> run() {
    const auto began = Clock::now();
    complete({.kind = "user", .text = in_.said.text, .prompt_id = in_.said.prompt_id});
    if (in_.beginning.empty()) {
      std::vector<std::string> said{in_.said.text};
      auto changes = co_await changes_of_others();
      if (!changes.empty()) said.insert(said.begin(), std::move(changes));
      append(continue_session(transcript_.results, said));
    } else {
      append(in_.beginning, in_.shared_ids.get());
    }
    while (result_.reason.empty()) co_await step();
    result_.usage = total_;
    result_.usage.total_ms = ms_since(began);
    co_return result_;
  }

 private:
  // ---- one step: an answer, and what it calls

  asio::awaitable<void> step() {
    if (total_.steps >= in_.settings.steps_max) {
      end("max_steps", fmt::format("{} steps; a prompt such as `go on` continues", in_.settings.steps_max));
      co_return;
    }
    ++total_.steps;
    usage_ = {.steps = 1};
    std::string reason;
    for (int draw = 0;; ++draw) {
      calls_.clear(), open_ = nullptr;
      said_anything_ = false;
      reason = co_await answer(draw);
      if (reason != "end" || said_anything_ || draw == kResamplesMax) break;
      complete({.kind = "note", .text = std::string(kRedrawnNote)});
    }
    if (reason == "end" && !calls_.empty()) reason = "calls";
    finish_step(reason);
    if (reason == "calls") {
      co_await run_calls();
    } else if (reason == "end") {
      const auto steering = events_.steering();  // came too late for this turn's results: the turn goes on with it
      if (steering.empty()) {
        end("end_turn", "");
      } else {
        append(continue_session({}, hear(steering)));
      }
    } else {
      end(reason, explain(reason));
    }
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

  // Fills the timeline, samples one answer and appends it to the transcript. Returns the step's reason.
  asio::awaitable<std::string> answer(int draw) {
    if (!co_await prefill()) co_return failure_;
    const EngineHost::Person waits(host_);
    const std::int64_t context_max = context_limit();
    auto sampling = in_.settings.sampling;
    if (draw > 0) {
      sampling.seed += static_cast<std::uint64_t>(draw);
      sampling.temperature = std::max(sampling.temperature, kResampleTemperature);
    }
    engine::GrammarOptions grammar;
    grammar.tools = declared();
    grammar.calls_max = kCallsPerStepMax;
    grammar.oracle = [this](const std::string& tool, const std::string& key, const engine::Arguments& so_far) {
      return choices(tool, key, so_far);
    };
    events_.state("decode");
    Draw drawing(*this);
    auto& answer = drawing.answer;
    drawing.begin = [&] {
      answer.emplace(engine_, *timeline_, std::move(grammar), sampling, Answer::Limits{in_.settings.step_tokens_max, in_.settings.think_tokens_max, context_max});
    };
    bool note_forced = false;
    do {
      const Spent spent = co_await host_.draw(drawing);
      usage_.wait_ms += std::chrono::duration_cast<std::chrono::milliseconds>(spent.waited).count();
      decode_ += spent.ran;
      for (auto& event : answer->events()) hear(std::move(event), answer->n_tokens());
      if (answer->think_forced() && !note_forced) {
        note_forced = true;
        complete({.kind = "note", .text = fmt::format("the reasoning was ended after {} tokens", in_.settings.think_tokens_max)});
      }
    } while (answer->end() == Answer::End::open);
    close_item();
    usage_.generated += answer->n_tokens();
    usage_.thinking += answer->n_thinking();
    usage_.decode_ms = std::chrono::duration_cast<std::chrono::milliseconds>(decode_).count();
    failure_message_ = answer->error();
    const bool empty = answer->end() == Answer::End::end && !said_anything_;
    if (!empty || draw == kResamplesMax) {
      std::vector<std::string> pending;
      if (answer->end() == Answer::End::end) pending.assign(calls_.size(), std::string(kUnknownOutcome));
      else calls_.clear();
      transcript_.results = pending;
      append_ids(answer->tokens());
    }
    co_return std::string(reason_of(answer->end()));
  }

  // False: failure_ says why.
  asio::awaitable<bool> prefill() {
    const EngineHost::Person waits(host_);
    const std::int64_t total = static_cast<std::int64_t>(transcript_.ids.size());
    usage_.prompt = total;
    if (total + kClosingTokens >= context_limit()) {
      failure_ = "context_full";
      co_return false;
    }
    events_.state(host_.n_queued() > 0 ? "queued" : "prefill");
    auto told = std::make_shared<Clock::time_point>();
    const auto io = co_await asio::this_coro::executor;
    // The callback outlives nothing: sync returns before this coroutine goes on, but what it posted may come later.
    auto alive = std::make_shared<std::atomic<bool>>(true);
    std::int64_t evaluated = 0;  // by the pieces before
    const auto progress_of = [&](std::int64_t left) {
      return [this, told, io, alive, step = total_.steps, evaluated, left](std::int64_t done, std::int64_t all) {
        const auto now = Clock::now();
        if (now - *told < kPrefillReportEvery && (done < all || left > 0)) return;
        *told = now;
        asio::post(io, [this, alive, step, done = evaluated + done, all = evaluated + all + left] {
          if (*alive) events_.prefill(step, done, all);
        });
      };
    };
    // A chunk at a time, so that what others draw meanwhile waits for no more.
    for (std::int64_t end = 0; end < total;) {
      const auto asked = Clock::now();
      const auto sync = [&] {
        const auto began = Clock::now();
        end = piece();
        auto done = timeline_->sync(std::span(transcript_.ids).first(static_cast<std::size_t>(end)), stop_.engine.get_token(), progress_of(total - end));
        if (done && shared_ && shared_->next_mark(transcript_.ids, end - 1) == end) shared_->offer(timeline_->prefix(end));
        return std::tuple(std::move(done), began - asked, Clock::now() - began);
      };
      auto [synced, waited, ran] = co_await host_.run(sync);
      usage_.wait_ms += std::chrono::duration_cast<std::chrono::milliseconds>(waited).count();
      prefill_ += ran;
      if (!synced) {
        *alive = false;
        failure_ = synced.error().code == engine::Errc::cancelled  ? "cancelled"
                   : synced.error().code == engine::Errc::too_long ? "context_full"
                                                                   : "error";
        failure_message_ = synced.error().message;
        co_return false;
      }
      evaluated += *synced;
      host_.evaluated(*synced, ran);
    }
    *alive = false;
    usage_.prefill_ms = std::chrono::duration_cast<std::chrono::milliseconds>(prefill_).count();
    usage_.prefilled += evaluated;
    usage_.cached += total - evaluated;
    if (shared_) shared_->count(total - evaluated, evaluated);
    co_return true;
  }

  // Where the next piece of a prefill ends. On the engine's thread; makes the timeline.
  std::int64_t piece() {
    const auto total = static_cast<std::int64_t>(transcript_.ids.size()), chunk = engine_.info().n_chunk;
    if (!timeline_) timeline_ = engine_.timeline(shared_ ? shared_->longest(transcript_.ids) : nullptr);
    if (chunk == 0) return total;
    const auto held = timeline_->tokens();
    const std::int64_t common = std::mismatch(held.begin(), held.end(), transcript_.ids.begin(), transcript_.ids.end()).first - held.begin();
    return std::min({total, (common / chunk + 1) * chunk, shared_ ? shared_->next_mark(transcript_.ids, common) : total});
  }

  void finish_step(const std::string& reason) {
    usage_.context = static_cast<std::int64_t>(transcript_.ids.size());
    usage_.context_max = context_limit();
    events_.step(total_.steps, reason, usage_);
    total_.prompt = usage_.prompt;
    total_.context = usage_.context, total_.context_max = usage_.context_max;
    total_.cached += usage_.cached, total_.prefilled += usage_.prefilled;
    total_.generated += usage_.generated, total_.thinking += usage_.thinking;
    total_.prefill_ms += usage_.prefill_ms, total_.decode_ms += usage_.decode_ms, total_.wait_ms += usage_.wait_ms;
    decode_ = prefill_ = {};
  }

  // ---- what the model says

  void hear(engine::Event event, std::int64_t tokens) {
    using namespace engine;
    if (auto* d = std::get_if<ReasoningDelta>(&event)) return text("think", d->text, tokens);
    if (auto* d = std::get_if<ContentDelta>(&event)) {
      said_anything_ = said_anything_ || d->text.find_first_not_of(" \t\r\n") != std::string::npos;
      return text("text", d->text, tokens);
    }
    said_anything_ = true;
    if (auto* begin = std::get_if<CallBegin>(&event)) {
      close_item();
      calls_.push_back({new_item({.kind = "tool", .name = begin->name, .state = "writing"})});
      events_.item_started(calls_.back().item);
    } else if (auto* d = std::get_if<ArgumentsDelta>(&event)) {
      Item& item = calls_.at(static_cast<std::size_t>(d->index)).item;
      item.arguments += d->json;
      events_.item_delta(item.id, "arguments", d->json, tokens);
    } else if (auto* done = std::get_if<CallEnd>(&event)) {
      calls_.at(static_cast<std::size_t>(done->index)).item.arguments = done->arguments;
    } else if (auto* no = std::get_if<CallRejected>(&event)) {
      while (calls_.size() <= static_cast<std::size_t>(no->index)) {  // it may be rejected before it has a name
        close_item();
        calls_.push_back({new_item({.kind = "tool", .name = no->name, .state = "writing"})});
        events_.item_started(calls_.back().item);
      }
      Call& call = calls_[static_cast<std::size_t>(no->index)];
      call.rejected = true;
      call.item.state = "rejected", call.item.output = no->why;
      events_.item_completed(call.item);
    }
  }

  void text(const char* kind, const std::string& piece, std::int64_t tokens) {
    if (piece.empty()) return;
    if (!open_ || open_->kind != kind) {
      close_item();
      open_ = std::make_unique<Item>(new_item({.kind = kind}));
      opened_at_ = tokens;
      events_.item_started(*open_);
    }
    open_->text += piece;
    open_->tokens = std::max<std::int64_t>(1, tokens - opened_at_);
    events_.item_delta(open_->id, "text", piece, tokens);
  }

  void close_item() {
    if (!open_) return;
    events_.item_completed(*open_);
    open_ = nullptr;
  }

  Item new_item(Item item) {
    item.id = fmt::format("{}.{}", in_.turn_id, ++n_items_);
    item.turn_id = in_.turn_id;
    return item;
  }

  void complete(Item item) { events_.item_completed(new_item(std::move(item))); }

  // ---- what it calls

  asio::awaitable<void> run_calls() {
    std::vector<std::string> results, reminders;
    bool broken = false, stuck = false;
    for (Call& call : calls_) {
      if (call.rejected) {
        results.push_back(call.item.output);
        continue;
      }
      if (stop_.requested() || broken) {
        call.item.state = "cancelled", call.item.output = kCancelledCall;
        events_.item_completed(call.item);
        results.push_back(call.item.output);
        continue;
      }
      const int n = co_await run_call(call, broken);
      results.push_back(call.item.output);
      if (const auto reminder = call_reminder(call.item.name, n); !reminder.empty()) {
        complete({.kind = "note", .text = reminder});
        reminders.push_back(reminder);
      }
      stuck = stuck || n >= kCallsStop;
    }
    transcript_.results = results;
    if (broken || stuck || stop_.requested()) {
      append_ids({});  // the results wait for the next prompt
      if (broken) end("error", failure_message_);
      else if (stuck) end("repetition", fmt::format("the same call was made {} times", kCallsStop));
      else end("cancelled", "");
      co_return;
    }
    auto changes = co_await changes_of_others();
    if (!changes.empty()) reminders.push_back(std::move(changes));
    for (auto& text : hear(events_.steering())) reminders.push_back(std::move(text));
    append(continue_session(results, reminders));
  }

  asio::awaitable<std::string> changes_of_others() {
    if (!in_.changes) co_return "";
    auto asked = in_.changes();
    co_return co_await std::move(asked);
  }

  // What the model may call.
  std::vector<engine::ToolSpec> declared() const {
    return declared_tools(tools_, in_.settings.tools);
  }

  // Returns how often this turn has made this very call.
  asio::awaitable<int> run_call(Call& call, bool& broken) {
    Item& item = call.item;
    tools::Tool* const tool = find_tool(tools_, item.name);
    const auto args = nlohmann::json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
    if (!tool || !args.is_object()) {  // the parser only lets declared, well-formed calls through
      item.state = "rejected", item.output = fmt::format("There is no tool {}.", item.name);
      events_.item_completed(item);
      co_return 1;
    }
    if (in_.settings.tools == ToolUse::reading && tool->mutates(args)) {
      item.state = "rejected", item.output = fmt::format("{}: this turn answers a question and changes nothing.", item.name);
      events_.item_completed(item);
      co_return 1;
    }
    const bool mutates = tool->mutates(args);
    const int n = calls_made_.count(item.name, item.arguments, mutates);
    if (mutates && in_.permit && !co_await permitted(item, args)) co_return n;
    item.changes_untold = mutates && !tool->tells_changes();
    item.state = item.name == kAskUser ? "waiting" : "running";
    events_.state(item.name == kAskUser ? "waiting" : "tool");
    events_.item_updated(item);
    if (stop_.requested()) {  // that it begins could not be written down
      item.changes_untold = false;
      item.state = "cancelled", item.output = kCancelledCall;
      events_.item_completed(item);
      co_return n;
    }
    const auto began = Clock::now();
    const auto io = co_await asio::this_coro::executor;
    tools::OnOutput on_output = [this, id = item.id](const std::string& piece) { events_.item_delta(id, "output", valid_utf8(piece), 0); };
    // In steps, for g++ 12 destroys some temporaries of a co_await expression twice.
    auto running = tool->run(args, std::move(on_output));
    auto until_stopped = asio::bind_cancellation_slot(stop_.tool.slot(), asio::as_tuple(asio::use_awaitable));
    auto [thrown, outcome] = co_await asio::co_spawn(io, std::move(running), std::move(until_stopped));
    if (thrown) outcome = tl::unexpected(stopped_by(thrown));
    item.elapsed_ms = ms_since(began);
    total_.tool_ms += item.elapsed_ms;
    if (outcome) {
      item.state = outcome->ok ? "done" : "failed";
      item.output = valid_utf8(outcome->text);
      for (const auto& change : outcome->changes) item.changes.push_back({change.path, valid_utf8(change.diff), change.before, change.after, change.shown});
    } else if (outcome.error().code == tools::Errc::cancelled) {
      item.state = "cancelled", item.output = kCancelledCall;
    } else {
      broken = true;
      failure_message_ = fmt::format("the tool {} is broken: {}", item.name, outcome.error().message);
      item.state = "failed", item.output = outcome.error().message;
    }
    if (item.changes_untold && in_.ran) {
      auto noting = in_.ran(item);
      co_await std::move(noting);
    }
    events_.item_completed(item);
    co_return n;
  }

  // False: the item is complete, and says why it did not run.
  asio::awaitable<bool> permitted(Item& item, const nlohmann::json& args) {
    const auto io = co_await asio::this_coro::executor;
    auto asked = in_.permit(item, args);
    auto until_stopped = asio::bind_cancellation_slot(stop_.tool.slot(), asio::as_tuple(asio::use_awaitable));
    auto [thrown, why_not] = co_await asio::co_spawn(io, std::move(asked), std::move(until_stopped));
    if (!thrown && !why_not && !stop_.requested()) co_return true;
    const bool stopped = thrown || stop_.requested();
    item.state = stopped ? "cancelled" : "denied";
    item.output = stopped ? std::string(kCancelledCall) : valid_utf8(*why_not);
    events_.item_completed(item);
    co_return false;
  }

  // Runs on the engine's thread; the session's tools do nothing meanwhile.
  std::optional<engine::ArgumentChoices> choices(const std::string& tool, const std::string& key,
                                                 const engine::Arguments& so_far) const {
    const tools::Tool* const t = find_tool(tools_, tool);
    if (!t) return std::nullopt;
    auto found = t->choices(key, so_far);
    if (!found) return std::nullopt;
    return engine::ArgumentChoices{std::move(found->one_of), std::move(found->substring_of), found->unique};
  }

  // ---- the transcript

  void append(const std::vector<engine::Segment>& segments, const std::vector<engine::Token>* before = nullptr) {
    transcript_.results.clear();
    std::vector<engine::Token> ids;
    if (before) ids = *before;
    const auto more = engine_.tokenizer().encode(segments);
    ids.insert(ids.end(), more.begin(), more.end());
    append_ids(ids);
  }
  void append_ids(const std::vector<engine::Token>& ids) {
    transcript_.ids.insert(transcript_.ids.end(), ids.begin(), ids.end());
    events_.appended(ids, transcript_.results);
  }

  std::vector<std::string> hear(const std::vector<Said>& steering) {
    std::vector<std::string> texts;
    for (const auto& said : steering) {
      complete({.kind = "user", .text = said.text, .prompt_id = said.prompt_id});
      texts.push_back(said.text);
    }
    return texts;
  }

  std::int64_t context_limit() const { return engine_.info().n_context_max; }

  std::string explain(const std::string& reason) const {
    if (reason == "cancelled") return "";  // the engine's word for it says no more
    if (reason == "max_tokens") return fmt::format("{} tokens", in_.settings.step_tokens_max);
    if (reason == "context_full") {
      return fmt::format("{} tokens; begin a new session", context_limit());
    }
    if (reason == "repetition") return "the same tokens again and again in one answer";
    return failure_message_;
  }

  void end(std::string reason, std::string message) {
    if (reason == "error") complete({.kind = "error", .text = message});
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
  std::shared_ptr<SharedBeginning> shared_;  // null: nothing is shared
  TurnResult result_;
  protocol::Usage total_, usage_;
  Clock::duration decode_{}, prefill_{};
  std::vector<Call> calls_;
  std::unique_ptr<Item> open_;  // think or text
  std::int64_t opened_at_ = 0, n_items_ = 0;
  bool said_anything_ = false;
  CallCounter calls_made_;
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
                                     std::unique_ptr<engine::Timeline>& timeline, TurnEvents& events, TurnStop& stop,
                                     TurnInput input, std::shared_ptr<SharedBeginning> shared) {
  Turn turn(host, tools, transcript, timeline, events, stop, std::move(input), std::move(shared));
  co_return co_await turn.run();
}

}  // namespace lares::daemon
