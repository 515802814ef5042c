#include "daemon/completions/generator.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/completions/completion.h"
#include "daemon/completions/raw_completion.h"
#include "daemon/on_disk_pool.h"
#include "daemon/spare.h"

namespace lares::daemon {
namespace {

constexpr std::chrono::milliseconds kLookAgainEvery{50};

Refusal not_now(std::string why) { return {Refusal::Kind::not_ready, std::move(why)}; }
Refusal no_logprobs() {
  return {Refusal::Kind::invalid,
          "generate: the engine that computes the model gives no logprobs; ask without them",
          "logprobs"};
}
// What requests that are over have left, for whoever needs the memory.
class SpareRequests final : public engine::Shrinker {
 public:
  explicit SpareRequests(const std::shared_ptr<GeneratorCore>& core)
      : Shrinker(core.get(), kSpareRequests), core_(core) {}
  bool shrink() override {
    const auto core = core_.lock();
    return core && core->prefixes.shrink();
  }
  bool gone() const override { return core_.expired(); }

 private:
  const std::weak_ptr<GeneratorCore> core_;
};
Refusal ends() { return not_now("generate: the daemon ends; ask again when it is back"); }

}  // namespace

struct Generator::Asked {
  std::variant<Conversation, Infill> what;
  Completion::Wanted wanted;
};

Generator::Generator(asio::any_io_executor io, EngineHost& host, const Log& log,
                     GeneratorOptions options)
    : core_(std::make_shared<GeneratorCore>(io, host, log, std::move(options))) {}

Generator::~Generator() {
  rendering_.join();
  reading_.join();
}

void Generator::abandon() {
  rendering_.abandon();
  reading_.abandon();
}

engine::Sampling Generator::sampling() const {
  engine::Sampling sampling = core_->options.sampling;
  std::random_device random;
  sampling.seed = std::uint64_t{random()} << 32 | random();
  return sampling;
}

std::optional<std::int64_t> Generator::context_max() const {
  const engine::Engine* const engine = core_->host.engine();
  return engine ? std::optional(engine->info().n_context_max) : std::nullopt;
}

std::uint64_t Generator::n_parameters() const {
  const engine::Engine* const engine = core_->host.engine();
  return engine ? engine->info().n_parameters : 0;
}

void Generator::end() {
  core_->ending = true;
  for (DrawnGeneration* const running : core_->running) running->stop();
}

Generator::Counts Generator::counts() const {
  return {core_->n_requests,   core_->n_prompt,          core_->n_cached,
          core_->n_completion, core_->queue.n_running(), core_->queue.n_waiting()};
}

asio::awaitable<tl::expected<void, Refusal>> Generator::loaded(std::stop_token stop) {
  // Looks again and again: the gate that opens with the model opens neither for who leaves nor for
  // a daemon that ends.
  asio::steady_timer again(core_->io);
  while (core_->host.state().state == "loading" && !core_->ending && !stop.stop_requested()) {
    again.expires_after(kLookAgainEvery);
    auto waiting = again.async_wait(asio::as_tuple(asio::use_awaitable));
    co_await std::move(waiting);
  }
  if (core_->ending) co_return tl::unexpected(ends());
  if (stop.stop_requested()) co_return tl::unexpected(not_now("generate: the client has gone"));
  if (!core_->host.engine())
    co_return tl::unexpected(
        Refusal{Refusal::Kind::failed,
                fmt::format("generate: the model is not loaded: {}", core_->host.state().message)});
  core_->prefixes.share(core_->host.engine()->memory().sequences.bytes_max);
  if (auto* const asks = dynamic_cast<engine::AsksShrinkers*>(core_->host.engine()))
    asks->ask(std::make_shared<SpareRequests>(core_));
  // An engine elsewhere evaluates together what is asked of it at a time.
  if (core_->host.engine()->info().timelines_apart)
    core_->queue.let_run(std::max(core_->options.running_max, kApartMax));
  co_return tl::expected<void, Refusal>();
}

asio::awaitable<tl::expected<Rendered, Refusal>> Generator::rendered(std::shared_ptr<Asked> asked,
                                                                     std::stop_token stop) {
  auto loading = loaded(std::move(stop));
  if (auto done = co_await std::move(loading); !done)
    co_return tl::unexpected(std::move(done.error()));
  const auto work = [this, asked] {
    const engine::Tokenizer& tokenizer = core_->host.engine()->tokenizer();
    // Let go of here: for a long conversation even that would take the io thread a while.
    const auto what = std::exchange(asked->what, Infill());
    if (const auto* const conversation = std::get_if<Conversation>(&what))
      return render(*conversation, tokenizer, core_->sampled, core_->options.words);
    return render(std::get<Infill>(what), tokenizer);
  };
  co_return co_await on_disk_pool(rendering_, work);
}

asio::awaitable<tl::expected<std::int64_t, Refusal>> Generator::count_tokens(
    Conversation conversation) {
  auto asked = std::make_shared<Asked>();
  asked->what = std::move(conversation);
  auto rendering = this->rendered(asked, {});
  const auto rendered = co_await std::move(rendering);
  if (!rendered) co_return tl::unexpected(rendered.error());
  co_return static_cast<std::int64_t>(rendered->prompt.size() + rendered->begun.size());
}

asio::awaitable<tl::expected<std::vector<engine::Token>, Refusal>> Generator::tokenize(
    std::string text) {
  auto loading = loaded({});
  if (auto done = co_await std::move(loading); !done)
    co_return tl::unexpected(std::move(done.error()));
  const auto work = [this, text = std::make_shared<const std::string>(std::move(text))] {
    return core_->host.engine()->tokenizer().encode(*text, /*added=*/true);
  };
  co_return co_await on_disk_pool(rendering_, work);
}

asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> Generator::begin(
    Conversation conversation, std::stop_token stop) {
  auto asked = std::make_shared<Asked>();
  asked->wanted = {.sampling = conversation.sampling,
                   .tokens_max = conversation.tokens_max,
                   .stop = conversation.stop,
                   .n_logprobs = conversation.n_logprobs,
                   .replayable = !conversation.continues_last && conversation.tokens_max > 0};
  asked->what = std::move(conversation);
  return start(std::move(asked), std::move(stop));
}

asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> Generator::begin(
    Infill infill, std::stop_token stop) {
  auto asked = std::make_shared<Asked>();
  asked->wanted = {.sampling = infill.sampling,
                   .tokens_max = infill.tokens_max,
                   .stop = infill.stop,
                   .n_logprobs = infill.n_logprobs,
                   .replayable = false};
  asked->what = std::move(infill);
  return start(std::move(asked), std::move(stop));
}

Refusal too_long(std::int64_t n_tokens, std::int64_t n_max, std::string parameter) {
  return {
      Refusal::Kind::too_long,
      fmt::format(
          "generate: the prompt is too long: {} tokens > {}, which leave room for an answer in the "
          "context; leave out some of it",
          n_tokens, n_max),
      std::move(parameter)};
}

// Before its prompt is encoded, so that nobody overtakes.
tl::expected<Generator::Place, Refusal> Generator::enter() {
  if (core_->ending) return tl::unexpected(ends());
  Place place = core_->queue.enter();
  if (!place)
    return tl::unexpected(not_now(fmt::format("generate: {} requests wait already; ask again later",
                                              core_->options.queued_max)));
  return place;
}

asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> Generator::start(
    std::shared_ptr<Asked> asked, std::stop_token stop) {
  const std::shared_ptr<GeneratorCore> core = core_;  // has the place, whatever happens to this
  auto place = enter();
  if (!place) co_return tl::unexpected(std::move(place.error()));
  auto rendering = this->rendered(asked, stop);
  auto rendered = co_await std::move(rendering);
  if (!rendered) co_return tl::unexpected(std::move(rendered.error()));
  if (core_->ending) co_return tl::unexpected(ends());
  if (asked->wanted.n_logprobs >= 0 && !core->host.engine()->info().gives_logprobs)
    co_return tl::unexpected(no_logprobs());
  const auto n = static_cast<std::int64_t>(rendered->prompt.size() + rendered->begun.size()),
             context = core_->host.engine()->info().n_context_max;
  if (const auto n_max = context - kClosingTokens - 1; n > n_max)
    co_return tl::unexpected(too_long(n, n_max, "messages"));
  ++core_->n_requests;
  std::unique_ptr<Generation> completion = std::make_unique<Completion>(
      core_, std::move(*place), std::move(*rendered), asked->wanted, std::move(stop));
  co_return std::move(completion);
}

asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> Generator::begin(
    RawPrompt prompt, std::stop_token stop) {
  const std::shared_ptr<GeneratorCore> core = core_;  // as above
  auto place = enter();
  if (!place) co_return tl::unexpected(std::move(place.error()));
  auto loading = loaded(stop);
  if (auto done = co_await std::move(loading); !done)
    co_return tl::unexpected(std::move(done.error()));
  if (auto refusal = refusal_of(prompt, *core->host.engine()))
    co_return tl::unexpected(std::move(*refusal));
  if (prompt.n_logprobs >= 0 && !core->host.engine()->info().gives_logprobs)
    co_return tl::unexpected(no_logprobs());
  ++core_->n_requests;
  std::unique_ptr<Generation> completion = std::make_unique<RawCompletion>(
      core_, std::move(*place), std::move(prompt), std::move(stop));
  co_return std::move(completion);
}

asio::awaitable<void> keep_end(std::shared_ptr<GeneratorCore> core,
                               std::unique_ptr<engine::Timeline> timeline) {
  const auto held = std::make_shared<std::unique_ptr<engine::Timeline>>(std::move(timeline));
  const auto keep = [core, held] {
    // It goes at once: whoever is next may need its memory
    const std::unique_ptr<engine::Timeline> ended = std::move(*held);
    const auto n = static_cast<std::int64_t>(ended->tokens().size());
    engine::PrefixRef prefix = ended->prefix(n);
    // The last one drawn is evaluated with the next draw, which does not come
    if (!prefix) prefix = ended->prefix(n - 1);
    // Guesses stand behind it
    if (!prefix && core->host.engine()->prefix_format().page_tokens > 0) {
      const std::vector<engine::Token> ids(ended->tokens().begin(), ended->tokens().end());
      if (ended->sync(ids, core->host.stop_token(), {})) prefix = ended->prefix(n);
    }
    core->prefixes.keep(std::move(prefix));
    return true;
  };
  co_await core->host.run(keep);
}

}  // namespace lares::daemon
