// A model's layers over several GPUs, one run of them behind the other (pipeline parallelism; one
// GPU is the case of one stage), and what a sequence has on all of them. A step leaves each by way
// of pinned host memory (HandOver), and the bits are one GPU's. Of a step of few tokens the stages
// work in turn; a long chunk goes through them in pieces, each stage a piece behind the one before.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/cuda/stage.h"

namespace lares::engine::cuda {

class PipelineState;

// tokens: of fewer an expert sees too few to fill what tensor cores multiply at once
inline constexpr int kPieceMin = 2048;
// Which a piece is a multiple of, so that pieces lie one behind the other where a chunk does
inline constexpr int kPieceTokens = 64;
inline constexpr int kPiecesPerStage = 2;

class Pipeline {
 public:
  // Stages in the order of their layers: the first has layer 0, each goes on where the one before
  // ends, the last has the head. The weights must outlive it.
  Pipeline(const Weights& weights, std::vector<Stage> stages, int piece_min = kPieceMin);

  struct Sequence {
    PipelineState* state;
    int n;                             // as DeviceForward::Sequence
    std::span<bf16* const> rows = {};  // as there, on the last GPU, where that has draft blocks
  };
  // As DeviceForward::evaluate, for all layers. no_memory: some GPU's pages have no room; nothing
  // was appended then on any.
  Result<> evaluate(std::span<const Sequence> sequences, std::span<const Token> tokens, int n_rows,
                    float* logits, const std::function<bool(int)>& go_on = {});

  // As DeviceForward's.
  const float* logits() const { return stages_.back().forward->logits(); }
  bool settled() const;  // on every GPU

  const Weights& weights() const { return weights_; }
  std::span<const Stage> stages() const { return stages_; }
  DraftBlocks* draft() const { return stages_.back().draft.get(); }  // null: none
  int chunk() const { return stages_.front().forward->chunk(); }
  const PageLayout& layout() const { return stages_.front().pages->layout(); }

  // Sequences that have a state on the GPUs: as many as the plan left room for, and no more, for
  // CUDA itself takes memory when it needs some.
  void set_states_max(std::int64_t n) { states_max_ = n; }
  std::int64_t states_max() const { return states_max_; }
  bool takes_more() const { return n_states_ < states_max_; }

  // What a sequence had on the GPUs, from any thread: it is freed where the GPUs are used, before
  // the next evaluation or with the pipeline.
  void retire(std::shared_ptr<void> what);
  bool free_retired();  // false: there was nothing

  // How a chunk of n tokens of one sequence is cut. One piece where it is short, where n_rows are
  // asked for and the last would have fewer, or where some GPU lacks experts, which the CPU's
  // threads and PCIe serve in turn.
  struct Pieces {
    int count = 1, tokens = 0;  // tokens of each but the last
  };
  Pieces pieces_of(int n, int n_rows) const;

 private:
  Result<> evaluate_in_pieces(const Sequence& sequence, std::span<const Token> tokens,
                              const Pieces& pieces, int n_rows, float* logits,
                              const std::function<bool(int)>& go_on);
  Result<> evaluate_stage(std::size_t k, std::span<const Sequence> sequences,
                          std::span<const Token> tokens, int n_rows, float* logits,
                          const std::function<bool(int)>& go_on,
                          const DeviceForward::Piece* piece = nullptr);

  const Weights& weights_;
  std::vector<Stage> stages_;
  const int piece_min_;
  friend class PipelineState;
  mutable std::int64_t n_states_ = 0;
  std::int64_t states_max_ = std::numeric_limits<std::int64_t>::max();
  std::mutex retired_mutex_;
  std::vector<std::shared_ptr<void>> retired_;  // goes before the stages do
};

// A sequence's state on all GPUs, in lock-step. Host pages and frontiers are whole ones, in
// engine/model's form: put together from the GPUs' stretches, and taken apart again.
class PipelineState {
 public:
  // The pipeline must outlive it.
  PipelineState(const Pipeline& pipeline, std::int64_t n_context);
  ~PipelineState();
  PipelineState(const PipelineState&) = delete;
  PipelineState& operator=(const PipelineState&) = delete;
  // Null: each GPU had the room; else the first that had not.
  const Device* without_room() const;

  std::int64_t size() const { return parts_.front()->size(); }
  bool can_drop_to(std::int64_t position) const { return parts_.front()->can_drop_to(position); }
  void drop_to(std::int64_t position);
  std::vector<std::uint8_t> frontier(std::int64_t position) const;
  std::size_t frontier_bytes(std::int64_t position) const;
  void restore(std::int64_t position, std::span<const std::uint8_t> frontier);

  // Whether the GPUs' pages hold it when it has `size` tokens. no_memory: some GPU's do not.
  Result<> room_for(std::int64_t size) const;
  // These in place of all there are, through the GPUs' caches, which do not keep those that
  // n_tokens fill in part. no_memory: some GPU has no room for them; nothing was changed then.
  Result<> adopt(std::span<const PageRef> pages, std::int64_t n_tokens);
  // Pages first..first + n - 1, with zeros where they have not been written.
  std::vector<std::shared_ptr<Page>> download(std::int64_t first, std::size_t n,
                                              const SequenceMemoryRef& memory = nullptr) const;
  // Page i, where host memory has it: the caches may know that.
  PageRef known(std::int64_t i) const;
  // The caches know from now on that the GPUs have the bytes of `page`, which is page i and never
  // written again.
  void know(std::int64_t i, const PageRef& page);

  DeviceState& on(std::size_t stage) { return *parts_[stage]; }

 private:
  const Pipeline& pipeline_;
  std::vector<std::unique_ptr<DeviceState>> parts_;  // one a stage
};

}  // namespace lares::engine::cuda
