// Stateless generation over the engine: several at a time, each beginning with the longest prefix that an earlier one has left.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>

#include "daemon/completions/generation.h"
#include "daemon/completions/prefix_cache.h"
#include "daemon/completions/queue.h"
#include "daemon/completions/render.h"
#include "daemon/completions/sampled.h"
#include "daemon/engine_host.h"
#include "daemon/log.h"

namespace lares::daemon {

inline constexpr std::size_t kRunningMax = kTogetherMax;  // each has a sequence's memory
inline constexpr std::size_t kQueuedMax = 1024;           // and as many requests in memory at most; one more is told to come again

struct GeneratorOptions {
  std::string model;  // what the checkpoint is called
  CheckpointWords words;
  engine::Sampling sampling;
  std::int64_t think_tokens_max = 0;  // then </think> is forced
  std::size_t running_max = kRunningMax, queued_max = kQueuedMax;
  std::uint64_t prefix_bytes_max = kPrefixBytesMax, sampled_bytes_max = kSampledBytesMax;
};

class Completion;  // completion.h

class Generator final : public Generations {
 public:
  Generator(asio::any_io_executor io, EngineHost& host, const Log& log, GeneratorOptions options);
  ~Generator() override;  // after the last generation; before the host

  asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin(Conversation conversation, std::stop_token stop) override;
  asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin(Infill infill, std::stop_token stop) override;
  asio::awaitable<tl::expected<std::int64_t, Refusal>> count_tokens(Conversation conversation) override;
  std::string model() const override { return options_.model; }
  engine::Sampling sampling() const override;

  // The daemon ends: what runs ends with GenerationEnd::Reason::ending, and nothing begins.
  void end();

  // Since the start, on the io executor. Of the prompts' tokens the cached ones were not evaluated.
  struct Counts {
    std::int64_t requests = 0, prompt = 0, cached = 0, completion = 0;
    std::size_t running = 0, waiting = 0;
  };
  Counts counts() const;

 private:
  friend class Completion;
  struct Asked;
  asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> start(std::shared_ptr<Asked> asked, std::stop_token stop);
  asio::awaitable<tl::expected<Rendered, Refusal>> rendered(std::shared_ptr<Asked> asked);
  asio::awaitable<void> keep_end(std::unique_ptr<engine::Timeline> timeline);

  asio::any_io_executor io_;
  EngineHost& host_;
  const Log& log_;
  const GeneratorOptions options_;
  SampledAnswers sampled_;
  PrefixCache prefixes_;  // on the engine's thread
  Queue queue_;
  std::set<Completion*> running_;
  bool ending_ = false;
  Counts counts_;
  asio::thread_pool rendering_{1};  // a prompt of a million tokens takes a second to encode
};

}  // namespace lares::daemon
