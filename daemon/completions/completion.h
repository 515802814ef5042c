// One answer to a stateless client while it is drawn: its place in the queue, its prompt's
// evaluation, what is said and how it ends.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "daemon/completions/generator.h"
#include "daemon/completions/stop_text.h"
#include "daemon/turn/answer.h"

namespace lares::daemon {

class PromptBeginnings;

class Completion final : public Generation, private Drawing {
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
  ~Completion() override;

  std::int64_t prompt_tokens() const override { return static_cast<std::int64_t>(ids_.size()); }
  asio::awaitable<std::vector<GenerationEvent>> next() override;
  const GenerationEnd& end() const override { return end_; }

  void stop() { stop_.request_stop(); }  // the daemon ends

 private:
  using Clock = std::chrono::steady_clock;

  asio::awaitable<bool> evaluate();  // the prompt; false: it has ended there
  engine::Timeline& timeline() override { return *timeline_; }
  bool draw() override;  // on the engine's thread
  void begin_answer();
  void note_logprobs(bool thinking);
  void hear(engine::Event event);
  void say(std::string text);
  void flush();
  void finish();
  void finish(GenerationEnd::Reason reason, std::string what = "");
  void remember();

  const std::shared_ptr<GeneratorCore> of_;
  std::unique_ptr<Queue::Place> place_;
  const std::size_t n_begun_;       // tokens of the answer that are part of ids_
  std::vector<engine::Token> ids_;  // what is evaluated before the first draw
  engine::GrammarOptions grammar_;
  Wanted wanted_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> gone_;
  std::unique_ptr<engine::Timeline> timeline_;
  std::optional<Answer> answer_;
  StopText stops_;
  std::optional<engine::Token> dsml_, eos_, think_end_;
  bool calling_ = false, told_ = false, over_ = false;
  std::string reasoning_, content_;  // all of it
  std::vector<SampledCall> calls_;
  std::string rejected_;                // why a call that was begun is none
  std::vector<TokenLogprob> logprobs_;  // of content, that no event has yet
  std::vector<GenerationEvent> fresh_;  // since the last look
  const std::shared_ptr<PromptBeginnings> beginnings_;
  std::int64_t n_evaluated_ = 0, n_thinking_begun_ = 0;
  bool prefilled_ = false;
  Clock::duration prefill_{}, decode_{};
  GenerationEnd end_;
};

}  // namespace lares::daemon
