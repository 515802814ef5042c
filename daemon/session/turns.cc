// A session's turns: what the agent loop is given, and what becomes of it.
#include <algorithm>
#include <utility>

#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/ended.h"
#include "daemon/hooks/hooks.h"
#include "daemon/on_disk_pool.h"
#include "daemon/protocol/policies.h"
#include "daemon/protocol/turn_reasons.h"
#include "daemon/session/export.h"
#include "daemon/session/facts.h"
#include "daemon/session/retold.h"
#include "daemon/session/session.h"
#include "daemon/session/session_settings.h"
#include "daemon/turn/answer_schema.h"
#include "daemon/turn/shorten.h"
#include "daemon/turn/small_model.h"
#include "daemon/turn/until_stopped.h"
#include "engine/shrinker.h"

namespace lares::daemon {

using protocol::Json;

namespace {

asio::awaitable<bool> settled(EngineHost& host) {
  co_await host.settled();
  co_return true;
}

// For the model, behind the prompt of a turn that changes nothing: the tools alone do not say so.
std::string told_of_reading(bool plans, bool runs_commands) {
  const std::string_view can =
      runs_commands ? "files can be viewed, and commands run that do not write to the repository"
                    : "files can be viewed, but no commands run";
  return fmt::format("\n\n[Nothing is changed in this turn: {}.{}]", can,
                     plans ? " Find out what is needed, then say step by step what you would "
                             "change, and where, for the user to agree to."
                           : "");
}

}  // namespace

TurnSettings Session::settings(std::string_view mode) const {
  return turn_settings(world_.defaults, info_.settings, mode);
}

TurnSettings turn_settings(TurnSettings s, const protocol::SessionSettings& given,
                           std::string_view mode) {
  if (given.temperature) s.sampling.temperature = static_cast<float>(*given.temperature);
  if (given.top_p) s.sampling.top_p = static_cast<float>(*given.top_p);
  if (given.seed) s.sampling.seed = *given.seed;
  if (given.steps_max) s.steps_max = *given.steps_max;
  if (given.step_tokens_max) {
    if (*given.step_tokens_max != s.step_tokens_max) s.continuations_max = 0;  // somebody means it
    s.step_tokens_max = *given.step_tokens_max;
  }
  if (given.think_tokens_max) s.think_tokens_max = *given.think_tokens_max;
  if (mode == "ask" || protocol::changes_nothing(given.policy)) s.tools = ToolUse::reading;
  // wrong_setting() has let it in, so it can be obeyed.
  s.answer_schema = answer_schema(given.answer_schema).value_or(nullptr);
  return s;
}

void Session::with_hooks(TurnInput& input, HookConfig config) {
  const auto note = [this, n = 0](const std::string& text) mutable {
    if (turn_)
      item_completed({.id = fmt::format("{}.h{}", turn_->id, ++n),
                      .turn_id = turn_->id,
                      .kind = "note",
                      .text = text});
  };
  const auto hooks = std::make_shared<Hooks>(std::move(config), info_.root, info_.session_id, note);
  if (hooks->for_calls()) {
    input.before_call = [hooks](const protocol::Item& item) { return hooks->before(item); };
    input.after_call = [hooks](const protocol::Item& item) { return hooks->after(item); };
  }
  if (hooks->for_ends() && input.settings.tools == ToolUse::all)
    input.at_end = [hooks, id = input.turn_id] { return hooks->at_end(id); };
}

// What its tokens say is told once where this model cannot read them: with the first prompt behind
// them, also where that turn was stopped, or the daemon died, before it was read. The tokens stay
// what it goes back to.
asio::awaitable<std::string> Session::retell(TurnInput& input) {
  const engine::Engine& engine = *world_.host->engine();
  const Words words = pinned_ || transcript_.ids.empty()
                          ? Words::known
                          : words_of(transcript_, engine, vocabulary_);
  if (words == Words::foreign) {
    info_.settings = for_another_model(info_.settings, world_.defaults);
    record(kSettings, protocol::to_json(info_.settings));
    input.settings = settings(turn_->mode);
  }
  if (words != Words::known) {
    timeline_ = nullptr;
    shortened(std::exchange(transcript_, {}), {});
  }
  const bool untold = transcript_.ids.empty() && turn_log_.turns().back().n_shortened > 0;
  if (words == Words::known && !untold) co_return "";
  input.notes.emplace_back(kRetold);
  Retelling what = retelling(journal_, turn_log_, input.turn_id, engine.info().n_context_max);
  what.words = words_before_;
  const auto tell = [what] { return retold(what); };
  co_return co_await on_disk_pool(*world_.disk, tell);
}

void Session::hear_of_the_loop(TurnInput& input) {
  input.begin_anew = [this](std::string summary, std::string next) {
    return begin_anew(std::move(summary), std::move(next));
  };
  input.changes = [this] { return changes_of_others(); };
  input.unread_news = std::exchange(unread_news_, {});
  input.ran = [this](protocol::Item& item) { return after_changes(item); };
  if (info_.settings.until_tests_pass && input.settings.tools == ToolUse::all)
    input.check = [this] { return check_work(); };
  input.permit = [this, reading = turn_->reading](protocol::Item& item,
                                                  const nlohmann::json& arguments) {
    return permit(item, arguments, reading);
  };
}

asio::awaitable<TurnResult> Session::work(std::int64_t turn_id, Prompt* prompt) {
  const TurnResult cancelled{.reason = protocol::reason::kCancelled, .message = "", .usage = {}};
  if (!world_.host->engine()) {
    state("loading");
    auto loading = left_when_stopped(turn_->stop, settled(*world_.host));
    co_await std::move(loading);
  }
  const engine::Engine* engine = world_.host->engine();
  if (engine && !pinned_) {
    const auto look = [engine] { return vocabulary_of(*engine); };
    vocabulary_ = co_await on_disk_pool(*world_.disk, look);
  }
  if (turn_->stop.requested()) co_return cancelled;
  if (!engine)
    co_return TurnResult{
        protocol::reason::kError, "load the model: " + world_.host->state().message, {}};

  auto settling = settle_cut_off();
  if (const std::string why = co_await std::move(settling); !why.empty())
    co_return TurnResult{protocol::reason::kError, why, {}};

  make_toolbox();
  TurnInput input{.turn_id = turn_id,
                  .said = {prompt->send.id, prompt->send.content, "", ""},
                  .sums_up = turn_->sums_up,
                  .settings = settings(turn_->mode),
                  .threads = world_.tool_threads};
  turn_->reading = input.settings.tools == ToolUse::reading;
  prompt->delivered = true;
  if (turn_->woken) {
    input.said = woken_by(prompt->send.content, input.notes);
  } else if (!input.sums_up) {
    auto looking = left_when_stopped(turn_->stop, skill_called_by(prompt->send.content));
    auto called = co_await std::move(looking);
    if (!called) co_return cancelled;
    input.said.for_model = std::move(called->for_model), input.said.note = std::move(called->note);
  }
  if (input.settings.tools == ToolUse::reading && !is_small(engine->info())) {
    const tools::BuiltinOptions options = builtin_options();
    auto looking = tools::shell_unavailable_reason(options);
    const std::string why_not = co_await std::move(looking);
    const bool has_shell = why_not.empty() && !options.no_sandbox;
    input.said.for_model += told_of_reading(
        turn_->mode != "ask" && info_.settings.policy == protocol::kPlanPolicy, has_shell);
  }
  input.said.for_model += told_of_answer_schema(info_.settings.answer_schema);
  resident_ = world_.residents->of(info_.root);
  auto retelling_it = retell(input);
  const std::string before = co_await std::move(retelling_it);
  if (input.sums_up && transcript_.ids.empty())
    co_return TurnResult{protocol::reason::kError,
                         "sum the conversation up: nothing is in it that the model has read",
                         {}};
  // Stopped before it knows where it works, nothing is said, and the next turn begins the session.
  if (transcript_.ids.empty()) {
    auto reading = left_when_stopped(turn_->stop, resident_->begin());
    auto beginning = co_await std::move(reading);
    if (!beginning) co_return cancelled;
    if (!*beginning)
      co_return TurnResult{
          protocol::reason::kError, "read the repository: " + beginning->error(), {}};
    auto looking = left_when_stopped(turn_->stop, skills());
    const auto found = co_await std::move(looking);
    if (!found) co_return cancelled;
    input.beginning = begin_with(**beginning, *found, before + input.said.whole(), input.notes);
    adopt(std::move(**beginning));
  } else if (!pinned_) {
    co_await pin_again();
    if (turn_->stop.requested()) co_return cancelled;
  }
  if (pinned_) input.n_repository = static_cast<std::int64_t>(pinned_->view.base().tokens.size());
  tools::note_shown(tools_, overlays_->shown());
  auto hooks = read_hooks(own_file(world_, "hooks.json"));
  if (!hooks) co_return TurnResult{protocol::reason::kError, hooks.error(), {}};
  with_hooks(input, std::move(*hooks));
  hear_of_the_loop(input);
  if (input.settings.tools == ToolUse::all)
    world_.checkpoints->look_ahead(info_.root,
                                   fmt::format("{} turn {}", info_.session_id, turn_id));
  co_return co_await run_turn(*world_.host, tools_, transcript_, timeline_, *this, turn_->stop,
                              std::move(input), resident_->shared());
}

asio::awaitable<void> Session::run(std::int64_t turn_id, Prompt* prompt) {
  TurnResult result;
  try {
    auto working = work(turn_id, prompt);
    result = co_await std::move(working);
  } catch (const std::exception& e) {
    result = {protocol::reason::kError, e.what(), {}};
    world_.log->event("turn_failed",
                      {{"session", info_.session_id}, {"turn", turn_id}, {"why", e.what()}});
  }
  anew_.reset();
  record_shown();
  permissions_.turn_ended();
  give_up_questions();
  asked_.turn_ended();
  resident_ = nullptr;
  if (auto* const rests = dynamic_cast<engine::Rests*>(timeline_.get()))
    rests->rest(engine::Rest::turns);
  if (!failure_.empty())
    result = {protocol::reason::kError, "write the session's journal: " + failure_, result.usage};
  open_.clear();
  info_.turn_id = info_.turn_began_ms = 0;
  info_.context_tokens = static_cast<std::int64_t>(transcript_.ids.size());
  turn_ = nullptr;
  last_reason_ = result.reason;
  info_.state = "idle";
  const protocol::TurnEnded ended{.turn_id = turn_id,
                                  .reason = result.reason,
                                  .message = result.message,
                                  .usage = result.usage};
  fact(ended);
  // Whoever waits for the turn hears of its end all the same; what is kept will say that it was cut
  // off.
  if (!failure_.empty()) ephemeral(ended, Subscriber::Weight::state);
  co_await synced();
  start_next();
  if (!turn_) {
    state("idle");
    if (!rewinding_) idle_.open();  // it began while the end was synced, and opens it
    watch_jobs();
  }
}

// What run() does not guard threw, such as for want of memory: the turn is over, and what is known
// of it is what is on disk. Whoever goes on with the session reads that back first.
void Session::turn_lost(std::exception_ptr thrown) {
  const std::string why = thrown_by(thrown);
  const std::int64_t id = turn_ ? turn_->id : info_.turn_id;
  turn_ = nullptr, resident_ = nullptr;
  if (question_) question_->settled.open();
  asked_.turn_ended();
  open_.clear();
  info_.turn_id = 0, info_.state = "idle";
  last_reason_ = protocol::reason::kError;
  fail("the end of a turn: " + why);
  if (!rewinding_) idle_.open();
  try {
    ephemeral(
        protocol::TurnEnded{.turn_id = id, .reason = protocol::reason::kError, .message = why},
        Subscriber::Weight::state);
    world_.changed();
  } catch (...) {
    world_.log->event("turn_lost",
                      {{"session", info_.session_id}, {"turn", id}, {"why", "untold"}});
  }
}

// Once, to whoever goes on with the session; a turn's own items begin with 1.
void Session::tell_repair() {
  if (repair_.empty()) return;
  item_completed({.id = fmt::format("{}.0", turn_->id),
                  .turn_id = turn_->id,
                  .kind = "note",
                  .text = std::exchange(repair_, "")});
}

}  // namespace lares::daemon
