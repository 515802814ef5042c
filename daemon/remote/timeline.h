// A sequence whose evaluation and draws are the server's. Draws come ahead, in a stream, as long as
// they are what is allowed here; one that is not is drawn again from what is, which has the mask's
// distribution (where top_k, top_p or min_p leave something out: nearly).
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>

#include "daemon/remote/server.h"
#include "daemon/remote/tape.h"
#include "daemon/remote/wire.h"

namespace lares::daemon {

// Tokens a request: what a server draws for nobody where a turn is stopped
inline constexpr std::int64_t kDrawnAheadMax = 1024;
// New tokens that are worth a request of their own; fewer, of which nobody measures a rate, wait
// for the first draw
inline constexpr std::int64_t kEvaluatedFrom = 256;

struct RemoteModel {
  const RemoteServer* server = nullptr;
  std::string name;  // the server's
  std::int64_t n_context_max = 0;
  int vocab_size = 0;
  std::optional<engine::Token> eos;
};

class RemoteTimeline final : public engine::Timeline {
 public:
  // `model` outlives it.
  RemoteTimeline(const RemoteModel& model, const engine::PrefixRef& from);
  ~RemoteTimeline() override;

  std::span<const engine::Token> tokens() const override { return tape_.tokens(); }
  // What this timeline had not, less what the server says that it had.
  engine::Result<std::int64_t> sync(std::span<const engine::Token> prompt, std::stop_token stop,
                                    const engine::Progress& progress) override;
  engine::Result<engine::Token> next(const engine::Sampling& sampling,
                                     const engine::TokenMask* mask) override;
  void end_waits_at(std::stop_token stop) override { stop_ = std::move(stop); }
  // Of draws that the server made; of forced tokens, for which nobody is asked, there are none.
  engine::Logprobs logprobs(int n) const override;
  void expect_logprobs(int n) override { n_logprobs_ = n; }
  engine::PrefixRef prefix(std::int64_t n_tokens) const override;

 private:
  class Draws;  // a stream of tokens that follow those there are
  class Tries;

  engine::Result<DrawnToken> drawn(const engine::Sampling& sampling);
  engine::Result<DrawnToken> drawn_once(const CompletionAsked& asked, std::string_view what,
                                        const std::stop_token& stop,
                                        std::optional<std::int64_t>* n_cached = nullptr) const;
  engine::Result<DrawnToken> drawn_from(const engine::Sampling& sampling,
                                        const engine::TokenMask& mask);

  const RemoteModel& model_;
  Tape tape_;
  std::size_t n_evaluated_ = 0;  // the server was asked to go on behind so many of them
  std::unique_ptr<Draws> draws_;
  std::stop_token stop_;
  int n_logprobs_ = 0;  // that are asked for
  engine::Logprobs logprobs_;
};

}  // namespace lares::daemon
