// Another session that knows what this one knows, or knew once.
#include <algorithm>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "daemon/on_disk_pool.h"
#include "daemon/session/call_outputs.h"
#include "daemon/session/facts.h"
#include "daemon/session/session.h"

namespace lares::daemon {
namespace {

using protocol::Json;

// A turn's frames, from its first one on, applied to the transcript it began with, until what one
// of its steps brought is known.
class UpToStep {
 public:
  UpToStep(Transcript began, std::int64_t step) : transcript_(std::move(began)), step_(step) {}

  void apply(std::string_view payload) {
    const Json frame = Json::parse(payload, nullptr, /*allow_exceptions=*/false);
    if (!frame.is_object() || !frame.contains("method") || !frame.contains("params") ||
        !frame["method"].is_string())
      return;
    const std::string method = frame["method"].get<std::string>();
    const Json& params = frame["params"];
    if (method == kAppended || method == kShortened) return appended(params, method == kShortened);
    if (method == protocol::TurnStep::kNotification) {
      if (const auto x = protocol::from_json<protocol::TurnStep>(params)) n_steps_ = x->step;
    } else if (method == protocol::ItemUpdated::kNotification) {
      if (const auto x = protocol::from_json<protocol::ItemUpdated>(params))
        outputs_.begun(x->item);
    } else if (method == protocol::ItemCompleted::kNotification) {
      if (const auto x = protocol::from_json<protocol::ItemCompleted>(params))
        outputs_.completed(x->item);
    } else if (method == protocol::TurnEnded::kNotification) {
      turn_ended_ = true;
    }
  }
  bool reached() const { return n_steps_ >= step_; }
  bool over() const {
    return turn_ended_ || (reached() && prompted_);
  }  // nothing more comes to what it is for
  std::int64_t n_steps() const { return n_steps_; }
  Transcript result() && {
    outputs_.fill(transcript_.results);
    return std::move(transcript_);
  }

 private:
  void appended(const Json& params, bool anew) {
    const auto ids = params.find("ids"), results = params.find("results");
    const bool any_ids = ids != params.end() && ids->is_array() && !ids->empty();
    if (reached() && (any_ids || anew)) {  // the next step's prompt
      prompted_ = true;
      return;
    }
    if (anew) transcript_ = {.vocabulary = std::move(transcript_.vocabulary)};
    if (auto written_with = vocabulary_at(params); !written_with.empty())
      transcript_.vocabulary = std::move(written_with);
    if (any_ids)
      for (const auto& id : *ids)
        if (id.is_number_integer()) transcript_.ids.push_back(id.get<engine::Token>());
    transcript_.results.clear();
    if (results != params.end() && results->is_array())
      for (const auto& text : *results)
        transcript_.results.push_back(text.is_string() ? text.get<std::string>() : "");
    outputs_.appended(any_ids, !transcript_.results.empty());
  }

  Transcript transcript_;
  const std::int64_t step_;
  std::int64_t n_steps_ = 0;  // so far
  bool prompted_ = false, turn_ended_ = false;
  CallOutputs outputs_;
};

}  // namespace

// A turn's facts are read once more: nothing about steps is held for all the sessions that are
// never forked there.
asio::awaitable<Reply<Transcript>> Session::after_step(TurnLog::Turn turn, std::int64_t step) {
  const std::string what = fmt::format("fork session {} after step {} of turn {}", info_.session_id,
                                       step, turn.id);
  UpToStep up(turn_log_.before(turn, transcript_), step);
  const auto self = shared_from_this();
  const auto read = [&up, from = turn.frame, path = journal_.path(), bytes = journal_.bytes()] {
    return Journal::scan(path, bytes, [&](std::size_t index, std::string_view payload) {
      if (index >= from && !up.over()) up.apply(payload);
    });
  };
  if (const auto done = co_await on_disk_pool(*world_.disk, read); !done)
    co_return tl::unexpected(
        refusal(protocol::Code::internal, fmt::format("{}: {}", what, done.error())));
  if (!up.over())
    co_return tl::unexpected(refusal(protocol::Code::busy, what + ": the turn is not that far",
                                     "fork after an earlier step, or when the turn has ended"));
  if (!up.reached())
    co_return tl::unexpected(
        refusal(protocol::Code::not_found, fmt::format("{}: it has {}", what, up.n_steps())));
  Transcript out = std::move(up).result();
  // Where it is now, the model hears with a turn's first prompt.
  const auto later = turn_log_.from(turn.id);
  out.root = later.size() > 1 ? later[1].root : transcript_.root;
  co_return out;
}

// Of a turn's calls it is not known here in which step they were made: all count.
Session::Forebear Session::forebear(std::int64_t before_turn, bool and_its_first_steps) const {
  const std::int64_t last = before_turn == 0      ? std::numeric_limits<std::int64_t>::max()
                            : and_its_first_steps ? before_turn
                                                  : before_turn - 1;
  return {.words = words(before_turn, and_its_first_steps),
          .had_shell = had_shell_ || turn_log_.called(tools::kBashTool, last)};
}

asio::awaitable<void> Session::become_fork_of(std::shared_ptr<Session> parent, Transcript was,
                                              Forebear known) {
  const auto self = shared_from_this();
  words_before_ = std::move(known.words), had_shell_ = known.had_shell;
  transcript_ = std::move(was);
  vocabulary_ = std::exchange(transcript_.vocabulary, "");
  std::string root = transcript_.root;
  appended(transcript_.ids, transcript_.results);
  transcript_.root = std::move(root);  // what was appended does not tell where it is now
  forked();
  sync_soon();
  info_.context_tokens = static_cast<std::int64_t>(transcript_.ids.size());
  if (!parent->timeline_ || parent->turn_ || parent->rewinding_ || !failure_.empty()) co_return;
  const Rewinding keeps_still(*parent);  // nor is its timeline taken from it
  const auto share = [&]() -> std::unique_ptr<engine::Timeline> {
    engine::Engine& engine = *world_.host->engine();
    const auto held = parent->timeline_->tokens();
    // Another, where the transcript was shortened since
    const auto want = std::ranges::mismatch(held, transcript_.ids).in1 - held.begin();
    for (std::int64_t n = want; n > 0 && want - n < kForkLooksBack;
         n = (n - 1) / kForkStep * kForkStep)
      if (auto prefix = parent->timeline_->prefix(n)) return engine.timeline(prefix);
    return nullptr;
  };
  timeline_ = co_await world_.host->run(share);
}

}  // namespace lares::daemon
