// The forward pass of DeepSeek-V4's inference/model.py: one path for prefill chunks, decode and
// verification of several tokens.
//
// Activations are floats. Released numerics round them to bf16 where the release does, and quantise
// what enters fp8 and fp4 matrices and the caches; exact numerics do neither. A token's result
// depends on the tokens before it and on nothing else.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "engine/model/checkpoint/weights.h"
#include "engine/model/memory/buffer.h"
#include "engine/model/memory/expert_memory.h"
#include "engine/model/state.h"
#include "engine/model/trace.h"
#include "kernels/dispatch.h"
#include "kernels/thread_pool.h"

namespace lares::engine {

// Scores of index keys of all tokens that are chosen for together, where there are several
inline constexpr int kScoresHeld = 1 << 20;
// Entries of several sequences that are unpacked at a time: as many as one of a million tokens has
// at ratio 128
inline constexpr int kCommonRows = 8192;

// Tokens of one sequence that are evaluated together with those of others, and where its caches are
// for one layer.
struct Part {
  LayerState* state;
  std::int64_t position;  // of the first one
  int n;
};
struct Sequence {
  State* state;
  int n;  // tokens to append
};

class Forward {
 public:
  Forward(const Weights& weights, bool exact, kernels::ThreadPool& pool,
          const kernels::Kernels& kernels);

  bool exact() const { return exact_; }
  kernels::ThreadPool& threads() const { return pool_; }  // for others, while nothing is evaluated
  // Tells it which experts are about to be read, from now on; null: nobody.
  void keep_experts(ExpertMemory* memory) { experts_ = memory; }
  // Spans of what it does, from now on; null: none.
  void record(Trace* trace) { trace_ = trace; }
  Trace* trace() const { return trace_; }

  // Work space for `n` floats of a caller's x: sequences that wait need none. What is evaluated
  // between another's layers has its own.
  class Streams {
   public:
    Streams(Forward& forward, std::size_t n) : forward_(forward) {
      forward.streams_.swap(buffer_);
      room(buffer_, n);
    }
    ~Streams() {  // the largest one stays
      if (forward_.streams_.size() < buffer_.size()) forward_.streams_.swap(buffer_);
    }
    Streams(const Streams&) = delete;
    float* data() { return buffer_.data(); }

   private:
    Forward& forward_;
    Buffer buffer_;
  };

  // X[t, s, :] = embedding of tokens[t]. x: [n, S, D].
  void embed(std::span<const Token> tokens, float* x);
  // One decoder layer on the tokens of all parts, one part after the other; x [n, S, D] in place; a
  // part's n <= its state's chunk_max.
  void layer(const LayerWeights& w, std::span<const Part> parts, std::span<const Token> tokens,
             float* x);
  // On one part. With `seen_from` every token attends positions seen_from..position + n - 1, those
  // after its own too, instead of its window.
  void layer(const LayerWeights& w, LayerState& state, std::int64_t position,
             std::span<const Token> tokens, float* x, std::optional<std::int64_t> seen_from = {});
  // All layers; appends to each sequence its tokens, which lie one after the other. x: [n, S, D]
  // out. `after`, if any, sees x after each layer. When it returns false evaluation ends, this
  // returns false, and the states are half written: restore their frontiers.
  bool evaluate(std::span<const Sequence> sequences, std::span<const Token> tokens, float* x,
                const std::function<bool(int, const float*)>& after = {});
  bool evaluate(State& state, std::span<const Token> tokens, float* x,
                const std::function<bool(int, const float*)>& after = {}) {
    const Sequence one{&state, static_cast<int>(tokens.size())};
    return evaluate({&one, 1}, tokens, x, after);
  }
  // logits [n, V] of streams x [n, S, D], through the model's head or an MTP block's.
  void head(const HyperWeights& hyper, const float* norm, const float* x, int n, float* logits);
  void head(const float* x, int n, float* logits) {
    head(weights_.hc_head, weights_.norm, x, n, logits);
  }
  // MTP block: streams x [n, S, D] of positions position.. and the tokens that follow them -> the
  // block's streams, in place.
  void mtp(const MtpWeights& w, LayerState& state, std::int64_t position,
           std::span<const Token> next, float* x);
  // A state for one draft block.
  LayerState draft_state(int chunk_max) const;

  // DSpark's context: the KV rows that positions position..position + n - 1 have in every stage.
  // hidden [n, targets, D]: the target layers' streams as stream_means() leaves them; n <= a
  // window.
  void dspark_context(const DsparkWeights& w, std::span<LayerState> stages, std::int64_t position,
                      int n, const float* hidden);
  // Mean over the streams of each token: x [n, S, D] -> means [n, D], rows `stride` floats apart.
  void stream_means(const float* x, int n, float* means, std::int64_t stride) const;
  // What follows `anchor`, which stands at `position`: the block's first n tokens, each the
  // likeliest after the one before it. The stages know the rows of positions seen_from..position -
  // 1; the block's own are written after them.
  struct Block {
    std::vector<Token> tokens;      // [n]
    std::vector<float> confidence;  // [n] logit that the token is right if those before it are
    std::vector<float> logits;      // [n, V]
  };
  void dspark(const DsparkWeights& w, std::span<LayerState> stages, std::int64_t seen_from,
              std::int64_t position, Token anchor, int n, Block& out);

 private:
  struct Chunk;  // one call's parts, positions and rope tables
  // y = x W^T. The rows are `groups` times `rows` from row_begin on, and a group's meet the n_in
  // values of x behind those that the group before does; row i goes to y's column i.
  struct Product {
    const kernels::Matrix* w = nullptr;
    const float* x = nullptr;
    std::int64_t x_stride = 0;
    float* y = nullptr;
    std::int64_t y_stride = 0;
    bool round = false;  // y to bf16
    int row_begin = 0, rows = w ? w->n_out : 0, groups = 1;
  };
  static constexpr std::size_t kProductsMax = 8;  // in one loop
  class Products {
   public:
    void add(const Product& p) { products_[n_++] = p; }
    std::span<const Product> all() const { return {products_.data(), n_}; }

   private:
    std::array<Product, kProductsMax> products_;
    std::size_t n_ = 0;
  };
  // How one is shared out.
  struct Shares {
    const Product* product;
    bool tiled;
    const float* packed;                    // x, where it is tiled
    int unit, rows_unit;                    // tokens, rows
    std::int64_t grain, pieces, n_of_them;  // units of a piece; of a group; of all
  };

  void multiply(std::span<const Product> products, int n);
  Shares shares_of(const Product& p, int n) const;
  void multiply(const Shares& s, std::int64_t piece, int n) const;
  void pack(std::span<Shares> all, int n);
  void linear(const kernels::Matrix& w, const float* x, std::int64_t x_stride, float* y,
              std::int64_t y_stride, int n, bool round) {
    const Product one{&w, x, x_stride, y, y_stride, round};
    multiply({&one, 1}, n);
  }
  void rms_norm(const float* x, const float* w, float* y, int n, int dim);
  const float* entering(const kernels::Matrix& w, const float* x, int n, Buffer& buffer);
  void hyper_split(const HyperWeights& w, const float* x, int n, bool head);
  void layer(const LayerWeights& w, const Chunk& chunk, std::span<const Token> tokens, float* x);
  void attention(const LayerWeights& w, const Chunk& chunk, const float* x, float* y);
  void compress(const CompressorWeights& w, const Chunk& chunk, bool index);
  void index_queries(const Chunk& chunk);
  void select(const Chunk& chunk, const Part& part, int begin);
  int seen_in_common(const LayerWeights& w, const Part& part) const;
  void attend(const LayerWeights& w, const Chunk& chunk);
  void attend(const LayerWeights& w, const Chunk& chunk, std::size_t first_part,
              std::size_t last_part);
  void expect_experts(const LayerWeights& w, std::span<const Token> tokens);
  void use_experts(const LayerWeights& w, std::span<const int> counts, int n);
  void moe(const LayerWeights& w, std::span<const Token> tokens, const float* x, float* y);
  void put_row(std::uint8_t* to, const float* from, int n) const;
  void unpack(const PagedRows& entries, const std::int32_t* numbers, int n,
              std::uint16_t* rows) const;
  void put_window_row(const Chunk& chunk, int t, float* row) const;
  void look_up(const kernels::Matrix& table, Token token, float* row) const;
  void each(std::int64_t n, std::int64_t grain,
            const std::function<void(std::int64_t, std::int64_t)>& f) {
    pool_.run(n, grain, f);
  }

  const Weights& weights_;
  const Config& c_;
  const bool exact_;
  kernels::ThreadPool& pool_;
  const kernels::Kernels& k_;
  ExpertMemory* experts_ = nullptr;
  Trace* trace_ = nullptr;
  std::vector<float> frequencies_[2];  // [R / 2]: window layers, compressed layers
  // Work space, sized by the largest chunk so far.
  Buffer dots_, pre_, post_, comb_, sub_, normed_, y_, xq_, qr_, qrq_, q_, kv_, iq_, iw_, o_, z_,
      zq_;
  Buffer values_[2], gates_[2];  // the compressor's, the indexer's
  Buffer scores_, attention_scratch_;
  Buffer common_rows_, own_rows_;  // unpacked entries, bf16 in pairs
  std::vector<const void*> rows_;
  std::vector<std::int32_t> chosen_;  // [n, index_topk] entries, ascending, of tokens that see more
  Buffer streams_;                    // nobody's now
  Buffer u_, gathered_, up_, hidden_, down_, slots_, weights_of_, packed_;
};

}  // namespace lares::engine
