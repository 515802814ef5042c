// The forward pass of engine/model/forward.h over the layers that one GPU has: released numerics,
// the same operations in the same order for decode, prefill and several sequences, and the same
// bits wherever the layers are cut. A step of few tokens is recorded once for its shape, and
// replayed; everything that changes from step to step is in memory that the recording reads.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <tuple>
#include <vector>

#include "engine/cuda/device.h"
#include "engine/cuda/expert_stream.h"
#include "engine/cuda/expert_uses.h"
#include "engine/cuda/host_experts.h"
#include "engine/cuda/state.h"
#include "engine/cuda/weights.h"
#include "engine/cuda/work_space.h"
#include "engine/model/checkpoint/weights.h"
#include "engine/model/draft/block_drafter.h"

namespace lares::engine::cuda {

inline constexpr std::size_t kRecordingsMax = 64;  // shapes of steps that are kept
inline constexpr std::size_t kGraphsMax = 512;  // ... and pieces of them all: some 10 KB a launch
                                                // of the GPU's memory, and some a piece

class DeviceForward {
 public:
  struct Options {
    int chunk = 0;               // tokens evaluated at a time, at most
    std::int64_t n_context = 0;  // tokens of the longest sequence
    bool record = true;          // steps of at most kStepTokens
    // Of experts that the GPU lacks, packed; null: the CPU computes them, for any number of tokens
    ExpertStream* stream = nullptr;
    // Tokens evaluated together from which on they come; 0: reckoned. The bits do not depend on it
    int stream_from = 0;
    ExpertHeat* heat = nullptr;  // where experts of layers that lack some are counted, or null
    bool keeps = false;          // tokens' streams go where sequences say
  };
  // Of the layers that `on_device` has. no_memory: the work space has no room.
  static Result<std::unique_ptr<DeviceForward>> make(Device& device, const Weights& weights,
                                                     const DeviceWeights& on_device,
                                                     const Options& options,
                                                     kernels::ThreadPool& pool,
                                                     const kernels::Kernels& kernels);

  // What its last layer leaves goes to `next` from now on, which has the layers behind it, or the
  // head alone, and outlives it. Without, it has the head.
  void hand_on_to(const DeviceForward& next) { outbox_ = next.entry_.data(); }

  struct Sequence {
    DeviceState* state;
    int n;  // tokens to append; more than kStepTokens only where it is alone
    // [n] memory of this GPU, null: of no interest. Where `keeps` is set each of the newest
    // rows_kept() tokens leaves there what the checkpoint's draft blocks read: MTP its streams [S,
    // D], DSpark the means [targets, D] of those behind the target layers. An MTP block reads there
    // what enters it.
    std::span<bf16* const> rows = {};
  };
  // Of a chunk that GPUs work on at the same time, a piece each: where in entry_ it comes, and in
  // the next GPU's it goes.
  struct Piece {
    std::uint64_t from = 0, to = 0;  // bytes
  };
  // Appends to each sequence its tokens, which lie one after the other, and gives the logits
  // [n_rows, V] after the last n_rows of all of them, where the head is; elsewhere n_rows is 0. The
  // GPU before has evaluated the same, and handed it on. no_memory: the pages have no room; nothing
  // was appended then. Between layers of a chunk that is no step `go_on` is asked, if there is one;
  // on false this returns Errc::cancelled and the states are half written, those of the GPUs before
  // whole: restore the frontiers of all. `logits` may be null for kRowsMax rows at most: they are
  // at logits() then.
  Result<> evaluate(std::span<const Sequence> sequences, std::span<const Token> tokens, int n_rows,
                    float* logits, const std::function<bool(int)>& go_on = {},
                    const Piece* piece = nullptr);

  // So many tokens come next, which GPUs before this one work on first: where all experts will be
  // asked for, those that it lacks begin to come now.
  void expect(int n_tokens);

  // Of DSpark's stages alone: their cells of n more tokens, made of the rows that the sequence has;
  // without queries.
  void context(const Sequence& sequence);
  // Logits [V] that the token before adds, until the next call.
  const float* markov(Token before);
  const bf16* entered() const {
    return reinterpret_cast<const bf16*>(entered_.data());
  }  // [n_rows, D] what the head read of the last evaluation, before its norm

  // Where the streams [S, D] of the last evaluation's last token are, if it had a row of logits;
  // device memory, until the next.
  bf16* last_streams() const { return last_streams_; }

  const float* logits() const {
    return reinterpret_cast<const float*>(logits_.data());
  }  // of the last evaluation, until the next
  int chunk() const { return options_.chunk; }
  // Whether what was evaluated last took as long as its like will: not a step of a shape that was
  // new, nor the one that was recorded, nor the first that was not; they load what the driver has
  // not loaded yet.
  bool settled() const { return settled_; }
  std::size_t n_recordings() const;
  void set_counts(bool counts) {  // as ExpertUses'
    if (uses_) uses_->set_counts(counts);
  }
  const ExpertUses* uses() const { return uses_.get(); }  // null: it lacks no expert
  int stream_from() const {
    return stream_from_;
  }  // as in Options; more than a chunk: they never come

 private:
  struct Step;
  struct Recorded {
    // Between them the host sees to experts of host_layers_; none: seen once
    std::vector<std::unique_ptr<Device::Recording>> pieces;
    std::uint64_t used = 0;  // the last step that was of that shape
  };
  struct Cells {
    kc::PageCells entries, index_keys;
  };
  DeviceForward(Device& device, const Weights& weights, const DeviceWeights& on_device,
                const Options& options);

  int look_at_misses(int n_threads);
  bool streams(int n_tokens) const;      // missing experts come to the GPU
  bool streams_all(int n_tokens) const;  // ... and no route is waited for
  void write_inputs(Step& s, std::span<const Sequence> sequences, std::span<const Token> tokens);
  bool walk(const Step& s, const std::function<void(int)>& host,
            const std::function<bool(int)>& go_on);
  void run_step(const Step& s, const std::function<void(int)>& host);
  void replay(const Recorded& recorded, const std::function<void(int)>& host);
  bool record_step(const Step& s, Recorded& into);                // false: no memory for it
  void forget_recordings(const Recorded& but, std::size_t left);  // those used longest ago
  // What leaves: nothing, what attention made, what the experts did, or what the GPU before handed
  // on.
  enum class Leaves { nothing, attention, experts, handed };
  // What leaves behind the last layer, which may be another GPU's.
  Leaves last_leaves() const { return w_.begin() < w_.end() ? Leaves::experts : Leaves::handed; }
  kc::HyperArgs leaving(const Step& s, int first, int n, Leaves leaves) const;
  void boundary(const Step& s, const DeviceHyper& w, const float* norm, Leaves leaves);
  bool leaves_mixes(const Step& s) const;
  kc::HyperMixes left_mixes(const Step& s) const;
  // Few tokens' outputs of experts are summed where they leave; those of tokens from `first` on.
  kc::ExpertOutputs outputs(const Step& s, int first) const;
  void attention(const Step& s, int i);
  void select(const Step& s, int i);
  void attend(const Step& s, int i);
  bool reads_together(const Step& s) const;
  kc::CompressArgs compress_args(const Step& s, int i, bool index) const;
  int first_that_chooses(const Step& s) const;
  kc::IndexQueryArgs index_query_args(const Step& s) const;
  void read_inputs(const Step& s, int i);
  void move_window(const Step& s, int i, bool back);
  struct ExpertLaunches {
    kc::ExpertLinearArgs in, out;
    kc::SwigluArgs gated;
    bool gates = false;  // `out` does not do it by itself
  };
  ExpertLaunches expert_launches(const Step& s, int i) const;
  void experts(const Step& s, int i, const std::function<void(int)>& host);
  void missing_experts(const Step& s, int i);
  void head(const Step& s);
  void front(const Step& s);
  void keep_means(const Step& s, int layer);
  void keep_last(const Step& s);
  int kept_from(const Step& s) const;
  void product(std::vector<kc::LinearArgs>& to, const kc::Weight& w, const bf16* x,
               const std::uint8_t* codes, const float* scale, int n, void* y, bool f32,
               void* room) const;
  bool first() const { return w_.begin() == 0; }
  bool hands_on(int layer) const { return outbox_ && layer + 1 == w_.end(); }
  kc::Places places(const Step& s, int layer, int begin, int n) const;

  Device& device_;
  const Weights& weights_;
  const Config& c_;
  const DeviceWeights& w_;
  const Options options_;
  Memory memory_, scratch_;  // scratch_: top_k's; its bins, which come first, stay zero
  WorkSpace ws_;
  // entry_: rows of the embedding, or what the GPU before hands on
  Pinned inputs_, entry_, logits_;
  Pinned entered_;  // of DSpark
  bf16* last_streams_ = nullptr;
  std::uint8_t* outbox_ = nullptr;  // the next GPU's entry_; null: the head is here
  std::unique_ptr<ExpertUses> uses_;
  std::unique_ptr<HostExperts> host_experts_;
  int stream_from_ = 0;
  bool expected_ = false;     // the next evaluation's experts are coming
  std::vector<Cells> cells_;  // of each of its layers, in its stretch of a page
  // Whose experts are not all on the GPU: the host computes them, or has them come
  std::vector<int> host_layers_;
  // By tokens, parts, rows, reach
  std::map<std::tuple<int, int, int, std::int64_t>, Recorded> recordings_;
  std::uint64_t clock_ = 0;            // steps
  bool settled_ = true, ran_ = false;  // ran_: something that was not recorded
};

}  // namespace lares::engine::cuda
