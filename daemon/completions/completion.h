// One answer to a stateless client while it is drawn: what is thought, said and called, and how it
// ends.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "daemon/completions/drawn_generation.h"
#include "daemon/completions/stop_text.h"
#include "daemon/turn/answer.h"

namespace lares::daemon {

class Completion final : public DrawnGeneration {
 public:
  struct Wanted {
    engine::Sampling sampling;
    std::int64_t tokens_max = kOutputTokensMax;
    std::vector<std::string> stop;
    int n_logprobs = -1;
    bool replayable = true;  // a client may send the answer back
  };
  Completion(std::shared_ptr<GeneratorCore> of, std::unique_ptr<Queue::Place> place,
             Rendered rendered, Wanted wanted, std::stop_token stop);

 private:
  void prepare() override;
  bool draw() override;  // on the engine's thread
  void begin_answer();
  void note_logprobs(bool thinking);
  void hear(engine::Event event);
  void say(std::string text);
  void flush();
  std::optional<Ended> ended() const override;
  void count(GenerationUsage& usage) const override;
  bool conclude(Reason reason) override;
  void remember();

  const std::size_t n_begun_;  // tokens of the answer that are part of ids_
  engine::GrammarOptions grammar_;
  Wanted wanted_;
  std::optional<Answer> answer_;
  StopText stops_;
  std::optional<engine::Token> dsml_, eos_, think_end_;
  bool calling_ = false, told_ = false;
  std::string reasoning_, content_;  // all of it
  std::vector<SampledCall> calls_;
  std::string rejected_;                // why a call that was begun is none
  std::vector<TokenLogprob> logprobs_;  // of content, that no event has yet
  std::int64_t n_thinking_begun_ = 0;
};

}  // namespace lares::daemon
