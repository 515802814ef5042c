#include "daemon/completions/generator.h"

#include <random>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <fmt/format.h>

#include "daemon/completions/completion.h"
#include "daemon/on_disk_pool.h"

namespace lares::daemon {
namespace {

Refusal not_now(std::string why) { return {Refusal::Kind::not_ready, std::move(why)}; }

}  // namespace

struct Generator::Asked {
  std::variant<Conversation, Infill> what;
  Completion::Wanted wanted;
};

Generator::Generator(asio::any_io_executor io, EngineHost& host, const Log& log, GeneratorOptions options)
    : io_(io), host_(host), log_(log), options_(std::move(options)), sampled_(options_.sampled_bytes_max), prefixes_(options_.prefix_bytes_max),
      queue_(io, options_.running_max, options_.queued_max) {}

Generator::~Generator() { rendering_.join(); }

engine::Sampling Generator::sampling() const {
  engine::Sampling sampling = options_.sampling;
  std::random_device random;
  sampling.seed = std::uint64_t{random()} << 32 | random();
  return sampling;
}

void Generator::end() {
  ending_ = true;
  for (Completion* const running : running_) running->stop();
}

Generator::Counts Generator::counts() const {
  Counts counts = counts_;
  counts.running = queue_.n_running(), counts.waiting = queue_.n_waiting();
  return counts;
}

asio::awaitable<tl::expected<Rendered, Refusal>> Generator::rendered(std::shared_ptr<Asked> asked) {
  auto settled = host_.settled();
  co_await std::move(settled);
  if (!host_.engine()) co_return tl::unexpected(Refusal{Refusal::Kind::failed, fmt::format("generate: the model is not loaded: {}", host_.state().message)});
  const auto work = [this, asked] {
    const engine::Tokenizer& tokenizer = host_.engine()->tokenizer();
    if (const auto* const conversation = std::get_if<Conversation>(&asked->what)) return render(*conversation, tokenizer, sampled_, options_.words);
    return render(std::get<Infill>(asked->what), tokenizer);
  };
  co_return co_await on_disk_pool(rendering_, work);
}

asio::awaitable<tl::expected<std::int64_t, Refusal>> Generator::count_tokens(Conversation conversation) {
  auto asked = std::make_shared<Asked>();
  asked->what = std::move(conversation);
  auto rendering = rendered(asked);
  const auto rendered = co_await std::move(rendering);
  if (!rendered) co_return tl::unexpected(rendered.error());
  co_return static_cast<std::int64_t>(rendered->prompt.size() + rendered->begun.size());
}

asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> Generator::begin(Conversation conversation, std::stop_token stop) {
  auto asked = std::make_shared<Asked>();
  asked->wanted = {.sampling = conversation.sampling, .tokens_max = conversation.tokens_max, .stop = conversation.stop,
                   .n_logprobs = conversation.n_logprobs, .replayable = !conversation.continues_last};
  asked->what = std::move(conversation);
  return start(std::move(asked), std::move(stop));
}

asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> Generator::begin(Infill infill, std::stop_token stop) {
  auto asked = std::make_shared<Asked>();
  asked->wanted = {.sampling = infill.sampling, .tokens_max = infill.tokens_max, .stop = infill.stop, .n_logprobs = infill.n_logprobs, .replayable = false};
  asked->what = std::move(infill);
  return start(std::move(asked), std::move(stop));
}

asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> Generator::start(std::shared_ptr<Asked> asked, std::stop_token stop) {
  if (ending_) co_return tl::unexpected(not_now("generate: the daemon ends; ask again when it is back"));
  auto place = queue_.enter();  // before its prompt is encoded, so that nobody overtakes
  if (!place) co_return tl::unexpected(not_now(fmt::format("generate: {} requests wait already; ask again later", options_.queued_max)));
  auto rendering = rendered(asked);
  auto rendered = co_await std::move(rendering);
  if (!rendered) co_return tl::unexpected(std::move(rendered.error()));
  if (ending_) co_return tl::unexpected(not_now("generate: the daemon ends; ask again when it is back"));
  const auto n = static_cast<std::int64_t>(rendered->prompt.size() + rendered->begun.size()), context = host_.engine()->info().n_context_max;
  if (n + kClosingTokens >= context) {
    co_return tl::unexpected(Refusal{Refusal::Kind::too_long, fmt::format("generate: the prompt has {} tokens, and the context holds {}; leave out some of it", n, context), "messages"});
  }
  ++counts_.requests;
  std::unique_ptr<Generation> completion = std::make_unique<Completion>(*this, std::move(place), std::move(*rendered), asked->wanted, std::move(stop));
  co_return std::move(completion);
}

// What was answered begins the next request's prompt.
asio::awaitable<void> Generator::keep_end(std::unique_ptr<engine::Timeline> timeline) {
  const auto keep = [this, &timeline] {
    const auto n = static_cast<std::int64_t>(timeline->tokens().size());
    engine::PrefixRef prefix = timeline->prefix(n);
    if (!prefix) prefix = timeline->prefix(n - 1);  // the last one drawn is evaluated with the next draw, which does not come
    if (!prefix && host_.engine()->prefix_format().page_tokens > 0) {  // guesses stand behind it
      const std::vector<engine::Token> ids(timeline->tokens().begin(), timeline->tokens().end());
      if (timeline->sync(ids, host_.stop_token(), {})) prefix = timeline->prefix(n);
    }
    prefixes_.keep(std::move(prefix));
    return true;
  };
  co_await host_.run(keep);
}

}  // namespace lares::daemon
