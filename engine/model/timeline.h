// A sequence in memory: its tokens, its state, the logits after the last of them, and snapshots to
// return to.
#pragma once

#include <vector>

#include "engine/engine.h"
#include "engine/model/draft/drafter.h"
#include "engine/model/forward.h"
#include "engine/model/logit_rows.h"
#include "engine/model/memory/prefix.h"
#include "engine/model/sampler.h"
#include "engine/model/state.h"

namespace lares::engine {

// Tokens evaluated at a time: so many that most experts see several
inline constexpr int kChunk = 1024;
inline constexpr std::size_t kSnapshotsMax = 64;
inline constexpr std::uint64_t kSnapshotBytesMax = 1u << 30;
inline constexpr int kHeadRows = 32;  // of several sequences, whose logits are computed at once
// Bytes of caches, from which on a prompt asks whether they are there
inline constexpr std::uint64_t kRoomChecked = 64u << 20;

// too_long, with the numbers: `what` takes more than there would be without any other sequence.
Result<> may_ever_fit(const SequenceMemory& memory, std::uint64_t bytes, const std::string& what);

// Where sequences may take so much memory and no more, one that waits may be asked for what it has.
// It then goes on as if it had not been, after what it takes to make that again.
class ModelTimeline : public Timeline, public Rests, private SequenceHolder {
 public:
  // With the tokens of `from`, which may be null; they are taken over when they are first needed.
  // `memory`: what all timelines of the engine share; null: one of its own, without a bound.
  ModelTimeline(const Weights& weights, Forward& forward, std::int64_t n_context,
                int chunk = kChunk, const DraftOptions& drafts = {},
                std::shared_ptr<const ModelPrefix> from = nullptr,
                SequenceMemoryRef memory = nullptr);
  ~ModelTimeline() override { memory_->remove(this); }

  std::span<const Token> tokens() const override { return from_ ? from_->tokens() : tokens_; }
  Result<std::int64_t> sync(std::span<const Token> prompt, std::stop_token stop,
                            const Progress& progress) override;
  Result<> expect(std::int64_t n_tokens) override;
  Result<Token> next(const Sampling& sampling, const TokenMask* mask) override;
  Logprobs logprobs(int n) const override;
  DraftStats drafts() const override { return drafter_.stats(); }
  PrefixRef prefix(std::int64_t n_tokens) const override;
  void rest(Rest how) override { resting = how; }

  // Tokens that sync(prompt) would evaluate at most, those that were given back included.
  std::int64_t left_of(std::span<const Token> prompt) const;

  // Evaluates for all of them together what their next draws wait for. Whose turn it is not,
  // because a sync was stopped or there is nothing to evaluate, is left as it is.
  static void evaluate_together(std::span<ModelTimeline* const> timelines);

  // After the last of tokens() that was evaluated.
  std::span<const float> logits() const {
    return rows_.row(std::min(state_.size(), static_cast<std::int64_t>(tokens_.size())) - 1);
  }

 private:
  bool give_back(Give what) override;
  static void evaluate_waiting(std::span<ModelTimeline* const> timelines);
  bool evaluate(std::span<const Token> tokens, int n_rows,
                const std::function<bool(int, int)>& go_on = {});
  void before_evaluating();
  float* after_evaluating(std::int64_t position, int n_rows);
  void drop_ahead();
  void go_back(std::int64_t position);
  std::int64_t to_go_on_from(std::int64_t position) const;
  std::int64_t to_go_on_from(std::span<const Token> prompt) const;
  std::uint64_t missing_bytes(std::int64_t from, std::int64_t size, int n_rows) const;
  std::uint64_t missing_beside_snapshots(std::int64_t from, std::int64_t size, int n_rows) const;
  std::uint64_t bytes_at_least(std::int64_t size) const;
  Result<> make_room(std::uint64_t more, const std::string& what, std::uint64_t in_all = 0);
  std::int64_t size_when_drawn() const;
  std::uint64_t bytes_to_draw() const;
  void plan_draw();
  void keep_snapshot(std::int64_t position);
  std::size_t least_missed() const;
  void begin();
  void recount();

  const Weights& weights_;
  Forward& forward_;
  const std::int64_t n_context_;
  const int chunk_;
  const SequenceMemoryRef memory_;
  State state_;
  // state_.size() of them evaluated, at most one more; or all, and what drafter_ has ahead after
  // them
  std::vector<Token> tokens_;
  LogitRows rows_;
  std::size_t generated_from_ = 0;  // tokens_ from here on were drawn since the last sync
  Sampler sampler_;
  Drafter drafter_;
  std::vector<FrontierRef> snapshots_;       // ascending positions
  std::shared_ptr<const ModelPrefix> from_;  // not taken over yet; null: nothing waits
  // What it began with, as long as its tokens do; null: nothing
  std::shared_ptr<const ModelPrefix> origin_;
  std::int64_t planned_ = 0;    // tokens that room was made for, which snapshots leave alone
  int planned_rows_ = 1;        // ... and rows of logits
  std::uint64_t promised_ = 0;  // bytes that those evaluated together with it were promised
  // The last draw's logits, where its caches were given back since: logprobs() may still come
  std::vector<float> drawn_row_;
  std::int64_t drawn_row_of_ = -1;
  FrontierRef parked_;  // at the end of the state, whose rings were given back; null: they were not
  // Its cells were given back: tokens_ from the end of origin_ on are to be evaluated again
  bool evicted_ = false;
  Charge own_;  // tokens, logits, draft blocks, the sampler; all else counts itself
};

}  // namespace lares::engine
