// A sequence whose state is on one GPU or several: engine/model/timeline.h's. Guesses are copied
// from its own text, and, where the last GPU has them, the checkpoint's draft blocks'.
#pragma once

#include <memory>
#include <vector>

#include "engine/cuda/pipeline.h"
#include "engine/model/drafter.h"
#include "engine/model/logit_rows.h"
#include "engine/model/prefix.h"
#include "engine/model/sampler.h"

namespace lares::engine::cuda {

inline constexpr std::size_t kFrontiersMax = 16;        // of a timeline, in host memory
inline constexpr std::int64_t kFrontierEvery = 1024;    // tokens drawn between them
inline constexpr int kGuessesMax = kc::kTokensFew - 1;  // with the token that waits they are few
                                                        // still, whose products are bound by
                                                        // weights

class DeviceTimeline : public Timeline {
 public:
  // What all timelines of an engine share; it outlives them.
  struct Shared {
    const Weights& weights;
    Pipeline& pipeline;
    std::int64_t n_context;
    kernels::ThreadPool* threads = nullptr;  // that a draw may use; null: none
    DraftOptions drafts = {};
  };
  // With the tokens of `from`, which may be null; memory on the GPUs is taken when it is first
  // needed.
  DeviceTimeline(const Shared& shared, std::shared_ptr<const ModelPrefix> from)
      : s_(shared),
        rows_(shared.weights.checkpoint.config().vocab_size),
        sampler_(shared.threads),
        drafter_(shared.weights, make_block(), shared.drafts),
        from_(std::move(from)) {}

  std::span<const Token> tokens() const override { return from_ ? from_->tokens() : tokens_; }
  Result<std::int64_t> sync(std::span<const Token> prompt, std::stop_token stop,
                            const Progress& progress) override;
  Result<Token> next(const Sampling& sampling, const TokenMask* mask) override;
  Logprobs logprobs(int n) const override;
  DraftStats drafts() const override { return drafter_.stats(); }
  PrefixRef prefix(std::int64_t n_tokens) const override;

  // Evaluates for all of them together what their next draws wait for, kPartsMax at a time; what
  // has no room is left as it is, and the draw says so.
  static void evaluate_together(std::span<DeviceTimeline* const> timelines);

 private:
  Result<> begin();
  bool waits() const {
    return state_ && state_->size() + 1 == std::ssize(tokens_) &&
           std::ssize(tokens_) < s_.n_context;
  }
  Result<> evaluate(std::span<const Token> tokens, bool row, const std::function<bool(int)>& go_on);
  static Result<> evaluate_waiting(std::span<DeviceTimeline* const> timelines);
  Drafter::MakeBlock make_block();
  void make_kept_rows(std::int64_t position, int n, std::vector<bf16*>& out);
  void drop_ahead();
  void go_back(std::int64_t position);
  void keep_frontier();

  const Shared s_;
  std::unique_ptr<PipelineState> state_;
  // state_->size() of them evaluated, at most one more but after a stopped sync; or all, and after
  // them what drafter_ has ahead.
  std::vector<Token> tokens_;
  LogitRows rows_;
  std::size_t generated_from_ = 0;  // tokens_ from here on were drawn since the last sync
  Sampler sampler_;
  KeptRows* kept_ = nullptr;  // of drafter_'s block
  Drafter drafter_;
  std::vector<FrontierRef> frontiers_;       // ascending positions
  std::shared_ptr<const ModelPrefix> from_;  // not taken over yet
  mutable std::vector<PageRef> host_pages_;  // of whole pages that were asked for; null: not yet
};

}  // namespace lares::engine::cuda
