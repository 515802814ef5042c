// Stateless generation over the engine: several at a time, each beginning with the longest prefix
// that an earlier one has left.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include <boost/asio/any_io_executor.hpp>

#include "daemon/completions/generation.h"
#include "daemon/completions/prefix_cache.h"
#include "daemon/completions/queue.h"
#include "daemon/completions/render.h"
#include "daemon/completions/sampled.h"
#include "daemon/contexts.h"
#include "daemon/engine_host.h"
#include "daemon/log.h"

namespace lares::daemon {

// Each has a sequence's memory; of an engine elsewhere kApartMax run
inline constexpr std::size_t kRunningMax = kTogetherMax;
// And as many requests in memory at most; one more is told to come again
inline constexpr std::size_t kQueuedMax = 1024;

struct GeneratorOptions {
  std::string model;  // what the checkpoint is called
  CheckpointWords words;
  engine::Sampling sampling;
  std::int64_t think_tokens_max = 0;  // then </think> is forced
  std::size_t running_max = kRunningMax, queued_max = kQueuedMax;
  std::uint64_t prefix_bytes_max = kPrefixBytesMax, sampled_bytes_max = kSampledBytesMax;
};

class DrawnGeneration;  // drawn_generation.h

// What generations share, and what may still be used by one that outlives the Generator: a
// coroutine that nobody resumes any more goes with its executor, and a job on the engine's thread
// with that.
struct GeneratorCore {
  GeneratorCore(asio::any_io_executor executor, EngineHost& engine_host, const Log& to,
                GeneratorOptions given)
      : io(executor),
        host(engine_host),
        log(to),
        options(std::move(given)),
        sampled(options.sampled_bytes_max),
        prefixes(options.prefix_bytes_max),
        queue(executor, options.running_max, options.queued_max) {}

  asio::any_io_executor io;
  EngineHost& host;
  const Log& log;
  const GeneratorOptions options;
  SampledAnswers sampled;
  PrefixCache prefixes;
  Queue queue;
  std::set<DrawnGeneration*> running;
  bool ending = false;
  std::int64_t n_requests = 0, n_prompt = 0, n_cached = 0, n_completion = 0;
};
// A prompt of n_tokens where at most n_max are answered: those of the context without what an
// answer takes at least.
Refusal too_long(std::int64_t n_tokens, std::int64_t n_max, std::string parameter);
// What was answered begins the next request's prompt.
asio::awaitable<void> keep_end(std::shared_ptr<GeneratorCore> core,
                               std::unique_ptr<engine::Timeline> timeline);

class Generator final : public Generations {
 public:
  Generator(asio::any_io_executor io, EngineHost& host, const Log& log, GeneratorOptions options);
  ~Generator() override;

  asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin(
      Conversation conversation, std::stop_token stop) override;
  asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin(
      Infill infill, std::stop_token stop) override;
  asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin(
      RawPrompt prompt, std::stop_token stop) override;
  asio::awaitable<tl::expected<std::int64_t, Refusal>> count_tokens(
      Conversation conversation) override;
  asio::awaitable<tl::expected<std::vector<engine::Token>, Refusal>> tokenize(
      std::string text) override;
  bool loading() const override { return core_->host.state().state == "loading"; }
  std::string model() const override { return core_->options.model; }
  std::optional<std::int64_t> context_max() const override;
  std::uint64_t n_parameters() const override;
  engine::Sampling sampling() const override;
  asio::any_io_executor aside() override { return reading_.get_executor(); }

  // The daemon ends: what runs ends with GenerationEnd::Reason::ending, and nothing begins.
  void end();
  // As DiskPool's, of its threads: requests that are being read or encoded when nothing runs on the
  // io thread any more.
  void abandon();

  // Since the start, on the io executor. Of the prompts' tokens the cached ones were not evaluated.
  struct Counts {
    std::int64_t requests = 0, prompt = 0, cached = 0, completion = 0;
    std::size_t running = 0, waiting = 0;
  };
  Counts counts() const;

 private:
  struct Asked;
  using Place = std::unique_ptr<Queue::Place>;
  tl::expected<Place, Refusal> enter();
  asio::awaitable<tl::expected<void, Refusal>> loaded(std::stop_token stop);  // waits until it is
  asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> start(
      std::shared_ptr<Asked> asked, std::stop_token stop);
  asio::awaitable<tl::expected<Rendered, Refusal>> rendered(std::shared_ptr<Asked> asked,
                                                            std::stop_token stop);

  const std::shared_ptr<GeneratorCore> core_;
  DiskPool rendering_{1};  // a prompt of a million tokens takes a second to encode
  DiskPool reading_{2};    // a body of 20 MB takes up to two to be parsed
};

}  // namespace lares::daemon
