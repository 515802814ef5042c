// What the model remembers of a sequence: per layer a window of KV rows, the compressed entries and index keys, and the raw rows
// of the compressors' open groups. Rings are addressed by absolute position and have room for a chunk beyond what attention
// reads, so a chunk may be written before it is read, and the newest tokens can be dropped again for nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/weights.h"

namespace lares::engine {

inline constexpr int kRollback = 128;  // tokens that can be dropped without a snapshot, from the greatest size ever held

// Rows of `row_bytes`, position p at p mod capacity.
class Ring {
 public:
  void resize(int capacity, std::size_t row_bytes) {
    capacity_ = capacity;
    row_bytes_ = row_bytes;
    data_.assign(static_cast<std::size_t>(capacity) * row_bytes, 0);
  }
  std::uint8_t* row(std::int64_t position) { return data_.data() + static_cast<std::size_t>(position % capacity_) * row_bytes_; }
  const std::uint8_t* row(std::int64_t position) const { return const_cast<Ring*>(this)->row(position); }
  std::size_t row_bytes() const { return row_bytes_; }

 private:
  int capacity_ = 0;
  std::size_t row_bytes_ = 0;
  std::vector<std::uint8_t> data_;
};

// Of one key: floats in exact numerics, kernels/indexer.h's codes in released ones.
std::size_t index_key_bytes(const Config& c, bool exact);

struct LayerState {
  Ring window;                             // [C] cells a position
  std::vector<std::uint8_t> entries;       // [n, C] cells
  std::vector<std::uint8_t> index_keys;    // [n] rows of index_key_bytes()
  Ring raw, raw_index;                     // [2, width] f32 a position: values, then gates with their bias
};

class State {
 public:
  // Snapshot: what a position needs beside the entries, which are functions of the prefix alone.
  struct Snapshot {
    std::int64_t position = 0;
    std::vector<std::uint8_t> bytes;
  };

  State(const Weights& weights, bool exact, int chunk_max);

  // What a state of `n_tokens` takes.
  static std::uint64_t bytes(const Weights& weights, bool exact, std::int64_t n_tokens, int chunk_max);
  // What reserve(n_tokens) would take beyond what the state holds.
  std::uint64_t missing_bytes(std::int64_t n_tokens) const;
  // Takes the memory for `n_tokens` at once, so that growing up to there copies nothing.
  void reserve(std::int64_t n_tokens);

  std::int64_t size() const { return size_; }
  int chunk_max() const { return chunk_max_; }
  LayerState& layer(int i) { return layers_[i]; }
  void advance(std::int64_t n) { size_ += n; }

  bool can_drop_to(std::int64_t position) const;
  void drop_to(std::int64_t position);  // can_drop_to(position) holds
  Snapshot snapshot() const;
  void restore(const Snapshot& snapshot);  // of this state, at a position <= size()

 private:
  template <class F>
  void each_row(std::int64_t position, F f);
  void cut_entries();

  const Weights& weights_;
  std::vector<LayerState> layers_;
  bool exact_;
  int chunk_max_;
  std::int64_t size_ = 0, floor_ = 0;  // rings are complete for positions >= floor_
  std::int64_t high_ = 0;              // the greatest size before the last drop: the rings hold rows up to there
};

}  // namespace lares::engine
