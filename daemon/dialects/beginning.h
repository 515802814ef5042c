// How every dialect asks for an answer that may be a stream.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/completions/generation.h"
#include "daemon/dialects/sse.h"
#include "daemon/http/exchange.h"

namespace lares::daemon {

// What a client gets whose stream had begun before it was known that there is no answer.
class RefusedGeneration final : public Generation {
 public:
  explicit RefusedGeneration(Refusal refusal) { end_.refused = std::move(refusal); }
  std::int64_t prompt_tokens() const override { return 0; }
  asio::awaitable<std::vector<GenerationEvent>> next() override {
    co_return std::vector<GenerationEvent>();
  }
  const GenerationEnd& end() const override { return end_; }

 private:
  GenerationEnd end_{.reason = GenerationEnd::Reason::failed, .what = {}, .usage = {}};
};

inline std::optional<HttpReply> head_if(bool streams) {
  return streams ? std::optional(sse_head()) : std::nullopt;
}

// `head`: of the stream that was asked for; nullopt: a whole answer was. Clients wait some minutes
// for a head, proxies one, and a model may take longer to load: then the stream begins first, and a
// whole answer says that it takes long. What is refused once the model is there is refused in the
// body alone, where the head has gone out. `keep_alive`: what such a stream says while the model
// loads.
template <class Asked>
asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin_generation(
    Exchange& exchange, Generations& generations, Asked asked, std::stop_token stop,
    std::optional<HttpReply> head, Exchange::KeepAlive keep_alive) {
  const bool early = head && generations.loading();
  if (early) {
    auto heading = exchange.begin(std::move(*head), std::move(keep_alive));
    co_await std::move(heading);
  } else if (generations.loading()) {
    exchange.takes_long();
  }
  auto beginning = generations.begin(std::move(asked), std::move(stop));
  auto generation = co_await std::move(beginning);
  if (!generation && early)
    generation = std::make_unique<RefusedGeneration>(std::move(generation.error()));
  co_return std::move(generation);
}

// With comments alone.
template <class Asked>
asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin_generation(
    Exchange& exchange, Generations& generations, Asked asked, std::stop_token stop,
    std::optional<HttpReply> head) {
  return begin_generation(exchange, generations, std::move(asked), std::move(stop), std::move(head),
                          [] { return std::string(kSseKeepAlive); });
}

}  // namespace lares::daemon
