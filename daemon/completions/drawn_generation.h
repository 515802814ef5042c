// A generation that the engine draws: its place in the queue, its prompt's evaluation, how it ends
// and what of it the next one need not evaluate again. What is drawn, and what of it is said, its
// kinds know.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "daemon/completions/generator.h"

namespace lares::daemon {

class PromptBeginnings;

class DrawnGeneration : public Generation, protected Drawing {
 public:
  ~DrawnGeneration() override;

  std::int64_t prompt_tokens() const override { return static_cast<std::int64_t>(ids_.size()); }
  asio::awaitable<std::vector<GenerationEvent>> next() override;
  const GenerationEnd& end() const override { return end_; }

  void stop() { stop_.request_stop(); }  // the daemon ends

 protected:
  using Reason = GenerationEnd::Reason;

  // `ids`: what is evaluated before the first draw.
  DrawnGeneration(std::shared_ptr<GeneratorCore> of, std::unique_ptr<Queue::Place> place,
                  std::vector<engine::Token> ids, std::stop_token stop);

  // On the engine's thread, like draw().
  virtual void prepare() {}  // before the prompt is evaluated
  engine::Timeline& timeline() override { return *timeline_; }
  std::int64_t n_evaluated() const { return n_evaluated_; }  // of the prompt's tokens
  std::stop_token stopped() const { return stop_.get_token(); }
  // Others may begin with so many of the timeline's tokens, if it can return there.
  void offer(std::int64_t n_tokens);
  // Whoever asks again, because its connection broke or the answer did not please, begins shortly
  // before the prompt's end.
  void offer_prompt();

  // On the io executor.
  struct Ended {
    Reason reason;
    std::string what = {};
    // failed: for want of memory, so another try makes sense; or for want of more than there is
    bool no_memory = false, too_long = false;
  };
  virtual std::optional<Ended> ended() const = 0;        // nullopt: there is more to draw
  virtual void count(GenerationUsage& usage) const = 0;  // what was drawn
  // After the end is known; true: what was drawn begins other prompts.
  virtual bool conclude(Reason reason) = 0;

  const engine::Engine& engine() const { return *of_->host.engine(); }

  const std::shared_ptr<GeneratorCore> of_;
  const std::vector<engine::Token> ids_;
  std::vector<GenerationEvent> fresh_;  // since the last look

 private:
  using Clock = std::chrono::steady_clock;

  asio::awaitable<bool> evaluate();  // the prompt; false: it has ended there
  void finish(Ended how);

  std::unique_ptr<Queue::Place> place_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> gone_;
  std::unique_ptr<engine::Timeline> timeline_;
  const std::shared_ptr<PromptBeginnings> beginnings_;
  std::int64_t n_evaluated_ = 0;
  bool prefilled_ = false, over_ = false;
  Clock::duration prefill_{}, decode_{};
  GenerationEnd end_;
};

}  // namespace lares::daemon
