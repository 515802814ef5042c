// What Chat Completions and Completions say of an answer in the same words.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/completions/generation.h"
#include "daemon/dialects/wire.h"

namespace lares::daemon {

// stop, length, tool_calls, insufficient_system_resource (the daemon ends, or the engine failed).
std::string_view finish_reason(GenerationEnd::Reason reason);
WireJson openai_usage(const GenerationUsage& usage);
// {"content": [{token, logprob, bytes, top_logprobs}]}
WireJson openai_logprobs(const std::vector<TokenLogprob>& logprobs);
std::string system_fingerprint(const Generations& generations);

// What a stream is written to: when its reader has gone, or reads no more, the generation is told to stop.
class Reader {
 public:
  explicit Reader(Exchange& exchange) : exchange_(exchange), gone_(exchange.gone(), [this] { stop_.request_stop(); }) {}
  std::stop_token stop() const { return stop_.get_token(); }
  asio::awaitable<void> write(std::string bytes);  // nothing, once it is gone
  bool there() const { return there_; }            // what was written has gone out

 private:
  Exchange& exchange_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> gone_;
  bool there_ = true;
};

}  // namespace lares::daemon
