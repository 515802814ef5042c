#include "daemon/completions/drawn_generation.h"

#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <fmt/format.h>

#include "daemon/completions/prompt_beginnings.h"
#include "daemon/ended.h"
#include "daemon/turn/prefill.h"

namespace lares::daemon {
namespace {

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
    case GenerationEnd::Reason::context:
      return "context";
    case GenerationEnd::Reason::cancelled:
      return "cancelled";
    case GenerationEnd::Reason::ending:
      return "ending";
    case GenerationEnd::Reason::failed:
      return "failed";
  }
  return "failed";
}

}  // namespace

DrawnGeneration::DrawnGeneration(std::shared_ptr<GeneratorCore> of,
                                 std::unique_ptr<Queue::Place> place,
                                 std::vector<engine::Token> ids, std::stop_token stop)
    : of_(std::move(of)),
      ids_(std::move(ids)),
      place_(std::move(place)),
      gone_(std::move(stop), [this] { stop_.request_stop(); }),
      beginnings_(std::make_shared<PromptBeginnings>(of_)) {
  of_->running.insert(this);
}

DrawnGeneration::~DrawnGeneration() { of_->running.erase(this); }

asio::awaitable<std::vector<GenerationEvent>> DrawnGeneration::next() {
  if (over_) co_return std::vector<GenerationEvent>();
  const EngineHost::Person waits(of_->host);
  if (!timeline_) {
    auto turn = place_->turn(stop_.get_token());
    if (!co_await std::move(turn)) {
      finish({Reason::cancelled});
      co_return std::vector<GenerationEvent>();
    }
    auto evaluating = evaluate();
    if (!co_await std::move(evaluating)) co_return std::vector<GenerationEvent>();
  }
  while (fresh_.empty() && !over_) {
    const Spent spent = co_await of_->host.draw(*this);
    decode_ += spent.ran;
    if (auto how = ended()) finish(std::move(*how));
  }
  co_return std::exchange(fresh_, {});
}

asio::awaitable<bool> DrawnGeneration::evaluate() {
  const std::stop_token never;
  const auto nothing = [](const engine::DrawsBetweenLayers&) { return std::int64_t{0}; };
  const auto prepare = [this](std::int64_t) {
    this->prepare();
    return true;
  };
  co_await of_->host.run_between(never, nothing, prepare);
  auto filling = prefill(of_->host, timeline_, beginnings_, ids_, stop_.get_token(), nullptr);
  const Prefilled done = co_await std::move(filling);
  prefill_ = done.ran, n_evaluated_ = done.n_evaluated;
  if (!done.error) {
    prefilled_ = true;
    co_return true;
  }
  const auto keep = [this](std::int64_t) {  // what there is of it, for whoever asks again
    offer(static_cast<std::int64_t>(timeline_->tokens().size()));
    return true;
  };
  co_await of_->host.run_between(never, nothing, keep);
  const bool stopped = done.error->code == engine::Errc::cancelled;
  finish({stopped ? Reason::cancelled : Reason::failed, stopped ? "" : done.error->message,
          done.error->code == engine::Errc::no_memory, done.error->code == engine::Errc::too_long});
  co_return false;
}

void DrawnGeneration::offer(std::int64_t n_tokens) {
  beginnings_->offer(timeline_->prefix(n_tokens));
}

void DrawnGeneration::offer_prompt() { offer((prompt_tokens() - 1) / kPrefixEvery * kPrefixEvery); }

void DrawnGeneration::finish(Ended how) {
  over_ = true;
  end_.reason = how.reason == Reason::cancelled && of_->ending ? Reason::ending : how.reason;
  if (how.no_memory)
    end_.refused = Refusal{
        Refusal::Kind::not_ready,
        fmt::format("generate: service unavailable: {}; ask again when others are done", how.what)};
  // Agents read in it whether to ask for less.
  if (how.too_long)
    end_.refused = Refusal{Refusal::Kind::too_long,
                           fmt::format("generate: the prompt is too long: {}", how.what)};
  end_.what = std::move(how.what);
  end_.usage = {.prompt = prompt_tokens(),
                .cached = !timeline_   ? 0
                          : prefilled_ ? prompt_tokens() - n_evaluated_
                                       : beginnings_->n_found()};
  count(end_.usage);
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
  if (conclude(end_.reason) && prefilled_)
    asio::co_spawn(of_->io, keep_end(of_, std::move(timeline_)),
                   logged(of_->log, "keeping the end of a generation"));
  place_.reset();
}

}  // namespace lares::daemon
