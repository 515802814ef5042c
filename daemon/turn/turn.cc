#include "daemon/turn/turn.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <utility>

#include <boost/asio/this_coro.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/protocol/turn_reasons.h"
#include "daemon/turn/loop.h"
#include "daemon/turn/prefill.h"
#include "daemon/turn/prompt.h"
#include "daemon/turn/read_ahead.h"
#include "daemon/turn/shorten.h"
#include "daemon/turn/small_model.h"
#include "daemon/turn/until_stopped.h"
#include "daemon/utf8.h"
#include "tools/builtin.h"

namespace lares::daemon {
namespace {

using protocol::Item;

constexpr std::size_t kWhyBytesMax = 200;  // of a failure, in a turn's last line

std::int64_t ms_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               begin)
      .count();
}

}  // namespace

TurnLoop::TurnLoop(EngineHost& host, const Tools& tools, Transcript& transcript,
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

asio::awaitable<TurnResult> TurnLoop::run() {
  const auto began = Clock::now();
  std::exception_ptr thrown;
  try {
    auto working = to_its_end();
    co_await std::move(working);
  } catch (...) {
    thrown = std::current_exception();
  }
  std::ranges::move(in_.unread_news, std::back_inserter(unread_.news));  // nobody asked for them
  tell_unread();
  if (thrown) std::rethrow_exception(thrown);
  result_.usage = total_;
  result_.usage.tool_ms = run_.ran_ms();
  result_.usage.total_ms = ms_since(began);
  co_return result_;
}

asio::awaitable<void> TurnLoop::to_its_end() {
  auto beginning = begin();
  co_await std::move(beginning);
  while (result_.reason.empty()) {
    auto stepping = step();
    co_await std::move(stepping);
  }
}

asio::awaitable<void> TurnLoop::begin() {
  if (!in_.said.prompt_id.empty())
    items_.complete({.kind = "user", .text = in_.said.text, .prompt_id = in_.said.prompt_id});
  if (!in_.said.note.empty()) items_.complete({.kind = "note", .text = in_.said.note});
  for (const auto& note : in_.notes) items_.complete({.kind = "note", .text = note});
  if (in_.sums_up) {
    auto summing = sum_up();
    co_await std::move(summing);
  } else if (!in_.beginning.segments.empty()) {
    const auto ids = tokens_of(in_.beginning);
    if (!can_hold(static_cast<std::int64_t>(ids.size()))) co_return;
    auto asking = memory_holds(ids);
    if (co_await std::move(asking)) append(ids);
  } else if (can_hold(n_least())) {
    std::vector<std::string> said = co_await what_happened();
    said.push_back(in_.said.whole());
    const std::vector<std::string> results = transcript_.results;
    auto going_on = go_on(results, said, /*with_task=*/true);
    co_await std::move(going_on);
  }
}

asio::awaitable<void> TurnLoop::step() {
  if (total_.steps >= in_.settings.steps_max) {
    end(protocol::reason::kMaxSteps,
        fmt::format("{} steps; a prompt such as `go on` continues", in_.settings.steps_max));
    co_return;
  }
  ++total_.steps;
  usage_ = {.steps = 1};
  auto answering = kept_answer();
  std::string reason = co_await std::move(answering);
  if (reason == protocol::reason::kEnd && !items_.calls().empty())
    reason = protocol::reason::kCalls;
  finish_step(reason);
  if (reason == protocol::reason::kCalls) {
    co_await run_calls();
  } else if (reason == protocol::reason::kEnd && must_answer_) {
    end(why_stuck_.first, why_stuck_.second);
  } else if (reason == protocol::reason::kEnd) {
    // Came too late for this turn's results: the turn goes on with it
    auto steering = events_.steering();
    auto more = hear(co_await std::move(steering));
    if (more.empty()) {
      auto asked = asked_to_go_on();
      more = co_await std::move(asked);
    }
    if (stop_.requested()) {
      leave_unread();
      end(protocol::reason::kCancelled, "");
    } else if (result_.reason.empty() && more.empty()) {
      end(protocol::reason::kEndTurn, "");
    } else if (!more.empty()) {
      auto going_on = go_on({}, more, /*with_task=*/true);
      co_await std::move(going_on);
    }
  } else if (reason == protocol::reason::kContextFull && in_.begin_anew && !must_answer_ &&
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

asio::awaitable<std::vector<std::string>> TurnLoop::asked_to_go_on() {
  std::vector<std::string> more;
  if (in_.at_end) {
    auto asked = until_stopped(stop_, in_.at_end());
    if (auto text = co_await std::move(asked); text && !text->empty())
      more.push_back(std::move(*text));
  }
  if (more.empty() && in_.check && !stop_.requested()) {
    events_.state("tool");
    auto asked = until_stopped(stop_, in_.check());
    std::optional<Checked> found = co_await std::move(asked);
    Checked checked;  // stopped meanwhile: nothing more is asked
    if (found) checked = std::move(*found);
    if (checked.done && !checked.text.empty())
      items_.complete({.kind = "note", .text = checked.text});
    if (!checked.known)
      end(protocol::reason::kUnfinished, checked.text.substr(0, checked.text.find('\n')));
    if (checked.done) co_return more;
    if (++n_sent_back_ > kSentBackMax)
      end(protocol::reason::kUnfinished,
          checked.text.substr(0, checked.text.find('\n')) + "; a prompt such as `go on` continues");
    else
      more.push_back(std::move(checked.text));
  }
  for (const auto& text : more) items_.complete({.kind = "note", .text = text});
  co_return more;
}

void TurnLoop::finish_step(const std::string& reason) {
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

asio::awaitable<void> TurnLoop::run_calls() {
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
      end(protocol::reason::kError, broken);
    else
      end(protocol::reason::kCancelled, "");
    co_return;
  }
  must_answer_ = stuck;
  for (auto& text : co_await what_happened()) reminders.push_back(std::move(text));
  auto steering = events_.steering();
  for (auto& text : hear(co_await std::move(steering))) reminders.push_back(std::move(text));
  auto going_on = go_on(results, reminders, /*with_task=*/false);
  co_await std::move(going_on);
}

std::pair<std::string, std::string> TurnLoop::in_circles(const TurnCalls::Made& made,
                                                         const Call& call) {
  std::string_view why = std::string_view(call.item.output).substr(0, call.item.output.find('\n'));
  why = utf8_prefix(why, kWhyBytesMax);
  if (made.disk) return {protocol::reason::kError, std::string(why)};
  if (made.failed)
    return {protocol::reason::kRepetition,
            fmt::format("the same call of {} failed {} times: {}", call.item.name, made.n, why)};
  return {protocol::reason::kRepetition, fmt::format("the same call was made {} times", made.n)};
}

asio::awaitable<TurnCalls::Made> TurnLoop::run_call(Item& item,
                                                    const std::vector<std::string>& results) {
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

asio::awaitable<std::vector<std::string>> TurnLoop::what_happened() {
  std::vector<std::string> out = std::exchange(in_.unread_news, {});
  unread_.news.insert(unread_.news.end(), out.begin(), out.end());
  if (in_.changes) {
    auto asked = in_.changes();
    if (auto changes = co_await std::move(asked); !changes.empty()) {
      unread_.changes = true;
      out.push_back(std::move(changes));
    }
  }
  std::vector<tools::Tool*> all;
  for (const auto& tool : tools_) {
    all.push_back(tool.get());
    if (in_.settings.tools != ToolUse::reading) continue;
    if (tools::Tool* const other = tool->for_reading(); other && other != tool.get())
      all.push_back(other);
  }
  for (tools::Tool* const tool : all) {
    auto asked = until_stopped(stop_, tool->news());
    const auto told = co_await std::move(asked);
    if (!told || told->empty()) continue;
    std::string news = valid_utf8(*told);
    items_.complete({.kind = "note", .text = news});
    unread_.news.push_back(news);
    out.push_back(std::move(news));
  }
  co_return out;
}

std::vector<std::string> TurnLoop::hear(const std::vector<Said>& steering) {
  std::vector<std::string> texts;
  for (const auto& said : steering) {
    items_.complete({.kind = "user", .text = said.text, .prompt_id = said.prompt_id});
    if (!said.note.empty()) items_.complete({.kind = "note", .text = said.note});
    unread_.prompt_ids.push_back(said.prompt_id);
    texts.push_back(said.whole());
  }
  return texts;
}

std::string TurnLoop::explain(const std::string& reason) const {
  if (reason == protocol::reason::kCancelled) return "";  // the engine's word for it says no more
  if (reason == protocol::reason::kMaxTokens)
    return fmt::format("{} tokens", in_.settings.step_tokens_max);
  if (reason == protocol::reason::kContextFull) {
    return fmt::format(
        "{} tokens; {}", context_limit(),
        in_.begin_anew ? "a prompt such as `go on` continues" : "begin a new session");
  }
  if (reason == protocol::reason::kRepetition)
    return "the same tokens again and again in one answer";
  return failure_message_;
}

void TurnLoop::end(std::string reason, std::string message) {
  if (reason == protocol::reason::kError) items_.complete({.kind = "error", .text = message});
  result_.reason = std::move(reason), result_.message = std::move(message);
}

std::vector<engine::ToolSpec> declared_tools(const Tools& tools, ToolUse use,
                                             const engine::ModelInfo& model) {
  if (use == ToolUse::none) return {};
  if (use == ToolUse::all) return catalogue();
  std::vector<engine::ToolSpec> out = reading_catalogue();
  std::erase_if(out, [&](const engine::ToolSpec& spec) {
    tools::Tool* const tool = find_tool(tools, spec.name);
    if (!tool || !tool->for_reading()) return true;
    return is_small(model) && tool->mutates(nlohmann::json::object());
  });
  return out;
}

asio::awaitable<TurnResult> run_turn(EngineHost& host, const Tools& tools, Transcript& transcript,
                                     std::unique_ptr<engine::Timeline>& timeline,
                                     TurnEvents& events, TurnStop& stop, TurnInput input,
                                     std::shared_ptr<SharedBeginning> shared) {
  TurnLoop turn(host, tools, transcript, timeline, events, stop, std::move(input),
                std::move(shared));
  co_return co_await turn.run();
}

}  // namespace lares::daemon
