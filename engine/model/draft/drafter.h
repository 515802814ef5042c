// Guesses the tokens to evaluate with the one that waits, and learns from what was drawn. It
// decides how much is evaluated ahead and when, never what comes out.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/model/draft/block_drafter.h"
#include "engine/model/draft/copy_index.h"
#include "engine/model/draft/draft_policy.h"

namespace lares::engine {

struct DraftOptions {
  Drafting mode = Drafting::off;
  bool copy = true, block = true;  // the sources it may use
  // What the engine's timelines have measured together; null: this one's own
  std::shared_ptr<DraftPolicy> policy;
};

class Drafter {
 public:
  // The checkpoint's draft blocks, where its layers are computed. Null, what it gives too: none.
  using MakeBlock = std::function<std::unique_ptr<BlockDrafter>()>;
  // block_in_memory: what it keeps is in host memory, which `memory` counts.
  Drafter(const Weights& weights, MakeBlock make_block, const DraftOptions& options,
          const SequenceMemoryRef& memory = nullptr, bool block_in_memory = true);

  // The last of `tokens`, which waits to be evaluated, and after it guesses to evaluate with it, at
  // most `most`. They end at the next place for a snapshot at the latest, and leave room in the
  // context for a token to draw after them. They are ahead until they are drawn or dropped.
  std::vector<Token> waiting(std::span<const Token> tokens, std::int64_t most,
                             std::int64_t n_context, bool alone);
  bool ahead() const { return !ahead_.empty(); }
  // Guesses at what follows `tokens`, of which the last waits to be evaluated; at most `n`. Valid
  // until the next call. In company, with other sequences' tokens, nothing is tried out for the
  // sake of measuring, for nobody knows there what a guess costs.
  std::span<const Token> guess(std::span<const Token> tokens, int n, bool alone = true);
  // The checkpoint's draft blocks, made when they are first asked for; null: none, or there was no
  // room for them.
  BlockDrafter* block();
  void ask_for_block_again() { block_wanted_ = block_allowed_ && !block_; }
  // As BlockDrafter's.
  void saw(int layer, std::int64_t position, int n, const float* streams);
  // So long did evaluating the waiting token and n guesses take.
  void took(int n, std::chrono::duration<double> time);
  void evaluated() { ++stats_.evaluations; }  // ... and that says nothing of what guesses cost
  // False: what is ahead is wrong, and to be dropped.
  bool drawn(std::int64_t position, Token token);
  // Only the first `size` tokens stay as they were.
  void drop_to(std::int64_t size);

  // What is known of where `tokens`, the first of the sequence's, stand: for a fork, so that its
  // first guess costs what it has of its own.
  CopyIndex copy_index(std::span<const Token> tokens) const;
  // For a sequence that begins with the tokens of such a one.
  void begin(const CopyIndex& index);

  const DraftStats& stats() const { return stats_; }
  // What tokens from..size - 1 may take, and those before them that the index has not taken in yet:
  // it does with the next guess. With begins_with in place of its own index, which begin() has not
  // been given yet.
  std::uint64_t missing_bytes(std::int64_t from, std::int64_t size,
                              const CopyIndex* begins_with = nullptr) const;
  // Forgets the draft blocks' rows, which come again with what is evaluated.
  void give_back();
  std::unique_ptr<BlockDrafter> take_block();  // give_back(), and here they are
  std::uint64_t bytes() const {
    return block_ ? block_->bytes() : 0;
  }  // beside the index, which counts itself

 private:
  struct Guess {
    std::int64_t position = 0;
    std::vector<Token> tokens;
    std::size_t used = 0;   // of which were evaluated
    std::size_t right = 0;  // of which were drawn
    bool open = false;      // whether the next one is right is not known yet
  };

  std::size_t copy_class(std::size_t i) const;
  std::span<const Token> use(Guess& guess, int n);
  std::span<const Token> from_block(std::span<const Token> tokens, int n,
                                    std::optional<double> least = {});
  void settle(Guess& guess, std::int64_t position, Token token, DraftStats::Source& source,
              bool copied);

  const Weights& weights_;
  const MakeBlock make_block_;
  const DraftOptions options_;
  const SequenceMemoryRef memory_;
  mutable CopyIndex index_;  // copy_index() takes in what the next guess would
  CopyIndex begun_with_;     // what index_ was at begin(): further on it shares most of its memory
  const bool block_allowed_, block_in_memory_;
  bool block_wanted_;  // and not made yet: it takes memory, which a timeline that only waits should
                       // not
  std::unique_ptr<BlockDrafter> block_;  // null: none in the checkpoint, not to be used, or nothing
                                         // was evaluated
  const std::shared_ptr<DraftPolicy> policy_;
  Guess copy_, blocked_;
  std::vector<Token> ahead_;  // guesses evaluated and not drawn yet, the next one last
  int match_ = 0;             // tokens the copy's match was long
  // How often the next guess is right when those before it were: moving averages.
  std::array<double, kMatchMax + 1> copy_chance_;  // by the length of the match, which grows with
                                                   // every right guess
  std::array<double, kDraftMax> block_chance_;     // by depth
  bool probe_block_ = false;                       // whose turn the next probe is
  double behind_s_ = 0;                            // of evaluations since the block fell behind
  DraftStats stats_;
};

}  // namespace lares::engine
