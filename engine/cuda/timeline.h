// A sequence whose state is on one GPU or several: engine/model/timeline.h's. Guesses are copied
// from its own text, and, where the last GPU has them, the checkpoint's draft blocks'. One that
// waits leaves the GPUs when another needs the room, and goes on where it was: its pages and what
// its end needs besides are in host memory then, which is bounded in turn (sequence_memory.h).
#pragma once

#include <memory>
#include <vector>

#include "engine/cuda/pipeline.h"
#include "engine/model/draft/drafter.h"
#include "engine/model/logit_rows.h"
#include "engine/model/memory/prefix.h"
#include "engine/model/sampler.h"

namespace lares::engine::cuda {

inline constexpr std::size_t kFrontiersMax = 16;      // of a timeline, in host memory
inline constexpr std::int64_t kFrontierEvery = 1024;  // tokens drawn between them
// With the token that waits they are few still, whose products are bound by weights
inline constexpr int kGuessesMax = kc::kTokensFew - 1;

class DeviceTimeline : public Timeline, public Rests, private SequenceHolder {
 public:
  // What all timelines of an engine share; it outlives them.
  struct Shared {
    const Weights& weights;
    Pipeline& pipeline;
    std::int64_t n_context;
    kernels::ThreadPool* threads = nullptr;  // that a draw may use; null: none
    DraftOptions drafts = {};
    SequenceMemoryRef memory = nullptr;  // of the host; null: one of the timeline's own
  };
  // With the tokens of `from`, which may be null; memory on the GPUs is taken when it is first
  // needed.
  DeviceTimeline(const Shared& shared, std::shared_ptr<const ModelPrefix> from);
  ~DeviceTimeline() override;  // in any thread

  std::span<const Token> tokens() const override { return from_ ? from_->tokens() : tokens_; }
  Result<std::int64_t> sync(std::span<const Token> prompt, std::stop_token stop,
                            const Progress& progress) override;
  Result<> expect(std::int64_t n_tokens) override;
  Result<Token> next(const Sampling& sampling, const TokenMask* mask) override;
  Logprobs logprobs(int n) const override;
  DraftStats drafts() const override { return drafter_.stats(); }
  void rest(Rest how) override { resting = how; }
  PrefixRef prefix(std::int64_t n_tokens) const override;

  // Engine's, kPartsMax at a time.
  static std::vector<std::size_t> evaluate_together(std::span<DeviceTimeline* const> timelines);

 private:
  // timeline_memory.cc: what it holds, and where.
  bool give_back(Give what) override;
  bool on_device() const override { return state_ != nullptr; }
  std::optional<std::uint64_t> bytes_to_leave() const override;
  std::uint64_t bytes_on_return() const override;
  void leave(bool with_cells) override;
  Result<> begin();
  Result<> arrive();
  std::int64_t evaluated() const {
    return state_ ? state_->size() : parked_ ? parked_->position : 0;
  }
  std::size_t whole_pages() const {
    return static_cast<std::size_t>(evaluated() / s_.pipeline.layout().tokens);
  }
  std::vector<PageRef> host_pages(std::int64_t n_tokens) const;
  std::uint64_t missing_host_pages(std::int64_t n_tokens) const;
  FrontierRef kept_frontier(std::int64_t position) const;
  std::uint64_t host_bytes(std::int64_t size, int n_rows) const;
  Result<> host_room(std::uint64_t more, const std::string& what);
  Result<> room_for_prompt(std::int64_t size);
  tl::unexpected<Error> without_host_room(Error error) const;
  void keep_frontier();
  void recount();
  // As long as it fails for memory, and somebody leaves the GPUs for it.
  template <class Attempt>
  Result<> with_room(Attempt attempt) {
    for (;;) {
      Result<> done = attempt();
      if (done || done.error().code != Errc::no_memory) return done;
      if (s_.pipeline.free_retired()) continue;  // somebody has ended meanwhile
      switch (memory_->clear_device(this, promised_)) {
        case SequenceMemory::Cleared::one:
          continue;
        case SequenceMemory::Cleared::none:
          return done;
        case SequenceMemory::Cleared::no_room:
          return without_host_room(std::move(done.error()));
      }
    }
  }

  // Somebody else has ended, or leaves the GPUs.
  bool made_room() {
    return s_.pipeline.free_retired() ||
           memory_->clear_device(this, promised_) == SequenceMemory::Cleared::one;
  }

  bool waits() const {
    return evaluated() + 1 == std::ssize(tokens_) && std::ssize(tokens_) < s_.n_context;
  }
  Result<> evaluate(std::span<const Token> tokens, bool row, const std::function<bool(int)>& go_on);
  static Result<> evaluate_waiting(std::span<DeviceTimeline* const> timelines);
  Drafter::MakeBlock make_block();
  void make_kept_rows(std::int64_t position, int n, std::vector<bf16*>& out);
  void drop_ahead();
  void go_back(std::int64_t position);

  const Shared s_;
  const SequenceMemoryRef memory_;
  std::unique_ptr<PipelineState> state_;  // null: it is on no GPU
  // evaluated() of them evaluated, at most one more but after a stopped sync, or where its cells
  // were given back; or all, and after them what drafter_ has ahead.
  std::vector<Token> tokens_;
  LogitRows rows_;
  std::size_t generated_from_ = 0;  // tokens_ from here on were drawn since the last sync
  Sampler sampler_;
  KeptRows* kept_ = nullptr;  // of drafter_'s block
  Drafter drafter_;
  std::vector<FrontierRef> frontiers_;       // ascending positions
  std::shared_ptr<const ModelPrefix> from_;  // not taken over yet
  // What it began with, as long as its tokens do; null: nothing
  std::shared_ptr<const ModelPrefix> origin_;
  FrontierRef parked_;  // at its end, where it has left the GPUs with all cells; null: it has not
  // Of the first pages; null: not in host memory. On the GPUs only whole ones that were asked for;
  // else all, the last perhaps not whole.
  mutable std::vector<PageRef> host_pages_;
  // Host memory that the call which goes on takes, its company's too: who leaves the GPUs for it,
  // and frontiers, leave that alone.
  std::uint64_t promised_ = 0;
  Charge own_;  // tokens, logits, the sampler; all else counts itself
};

}  // namespace lares::engine::cuda
