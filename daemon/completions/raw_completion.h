// Token ids gone on with as they are, until the end-of-sentence token or a limit: every id that is
// drawn is told, and the text of them all.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "daemon/completions/drawn_generation.h"

namespace lares::daemon {

// Why `prompt` is none for this engine: an id outside its vocabulary, too many for its context.
std::optional<Refusal> refusal_of(const RawPrompt& prompt, const engine::Engine& engine);

class RawCompletion final : public DrawnGeneration {
 public:
  // A prompt that is not refused.
  RawCompletion(std::shared_ptr<GeneratorCore> of, std::unique_ptr<Queue::Place> place,
                RawPrompt prompt, std::stop_token stop);

 private:
  bool draw() override;
  void begin_answer();
  void take(engine::Token token);
  TokenLogprob logprobs_of(engine::Token token);
  void say_what_is_whole();
  void end_answer();
  std::optional<Ended> ended() const override { return ended_; }
  void count(GenerationUsage& usage) const override { usage.completion = n_drawn_; }
  bool conclude(Reason reason) override;

  const engine::Sampling sampling_;
  const std::int64_t tokens_max_;
  const int n_logprobs_;
  const bool names_ids_;
  const std::optional<engine::TokenMask> allowed_;
  const std::optional<engine::Token> eos_;
  std::int64_t n_drawn_ = 0;
  std::string undecoded_;  // the beginning of a code point
  bool begun_ = false;
  std::optional<Ended> ended_;
};

}  // namespace lares::daemon
