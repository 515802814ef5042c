// What the model remembers of a sequence: per layer a window of KV rows, the compressed entries and
// index keys (pages.h), and the raw rows of the compressors' open groups. Rings are addressed by
// absolute position and have room for more than is read, so that the newest tokens can be dropped
// again for nothing; the windows', which are written before they are read, for a chunk besides.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/model/checkpoint/weights.h"
#include "engine/model/memory/pages.h"

namespace lares::engine {

// Tokens that can be dropped without a snapshot, from the greatest size ever held
inline constexpr int kRollback = 128;
// Lcm of the release's ratios: no open groups there
inline constexpr std::int64_t kSnapshotEvery = 128;

// Rows of `row_bytes`, position p at p mod capacity. Memory is taken by make(), and not touched
// before a row is written.
class Ring {
 public:
  void plan(int capacity, std::size_t row_bytes) {
    capacity_ = capacity;
    row_bytes_ = row_bytes;
  }
  void make() { data_.resize(bytes()); }
  void give_back() { std::vector<std::uint8_t, LineAllocator<std::uint8_t>>().swap(data_); }
  std::size_t bytes() const {
    return static_cast<std::size_t>(capacity_) * row_bytes_;
  }  // that make() takes
  std::uint8_t* row(std::int64_t position) {
    return data_.data() + static_cast<std::size_t>(position % capacity_) * row_bytes_;
  }
  const std::uint8_t* row(std::int64_t position) const {
    return const_cast<Ring*>(this)->row(position);
  }
  int capacity() const { return capacity_; }
  std::size_t row_bytes() const { return row_bytes_; }

 private:
  int capacity_ = 0;
  std::size_t row_bytes_ = 0;
  std::vector<std::uint8_t, LineAllocator<std::uint8_t>> data_;
};

// A compressor's rows [2, width] f32 of the newest positions: values, then gates with their bias.
// Rows of the newest chunk that a snapshot at a multiple of kSnapshotEvery within it would need
// stay besides.
class RawRows {
 public:
  void plan(const CompressorWeights& c);
  void make() { ring_.make(); }
  void give_back() {
    ring_.give_back();
    kept_ = {};
  }
  static std::uint64_t bytes(const CompressorWeights& c);

  const std::uint8_t* row(std::int64_t position) const;
  std::uint8_t* row(std::int64_t position) { return ring_.row(position); }  // to be written
  std::size_t row_bytes() const { return ring_.row_bytes(); }
  const float* values(std::int64_t position) const {
    return reinterpret_cast<const float*>(row(position));
  }
  const float* gates(std::int64_t position) const {
    return values(position) + row_bytes() / sizeof(float) / 2;
  }
  // values, gates: [n, width].
  void put(std::int64_t position, int n, const float* values, const float* gates);
  // The first row that is needed when `position` tokens are in.
  std::int64_t first_open(std::int64_t position) const;

 private:
  struct Kept {
    std::int64_t position;
    std::vector<std::uint8_t> row;
  };
  Ring ring_;
  int ratio_ = 1;
  // Those of positions that were dropped are not asked for before put() replaces them
  std::vector<Kept> kept_;
};

struct LayerState {
  Ring window;  // [C] a position, floats in exact numerics and bf16 in released ones
  PagedRows entries, index_keys;
  RawRows raw, raw_index;
};

// What a position needs beside the pages, which are functions of the prefix alone: the window's
// rows, as entries are stored, and the compressors' open rows.
struct Frontier {
  std::int64_t position = 0;
  std::vector<std::uint8_t> bytes;
};
using FrontierRef = std::shared_ptr<const Frontier>;
// Counted by `memory`, which may be null
FrontierRef shared(Frontier frontier, const SequenceMemoryRef& memory);

class State {
 public:
  State(const Weights& weights, bool exact, int chunk_max,
        const SequenceMemoryRef& memory = nullptr);

  // What a state of `n_tokens` takes.
  static std::uint64_t bytes(const Weights& weights, bool exact, std::int64_t n_tokens,
                             int chunk_max);
  // Of the pages that `n_tokens` take and the state does not have.
  std::uint64_t missing_bytes(std::int64_t n_tokens) const;

  std::int64_t size() const { return size_; }
  LayerState& layer(int i) { return layers_[i]; }
  Pages& pages() { return *pages_; }
  // Tokens [position, position + n) may be written from now on: Pages::open(), and the rings are
  // there.
  void open(std::int64_t position, std::int64_t n);
  const Pages& pages() const { return *pages_; }
  void advance(std::int64_t n) { size_ += n; }

  bool can_drop_to(std::int64_t position) const;
  void drop_to(std::int64_t position);  // can_drop_to(position) holds
  // At size(), or at a multiple of kSnapshotEvery within the chunk that was evaluated last.
  Frontier frontier(std::int64_t position) const;
  std::size_t frontier_bytes(std::int64_t position) const;
  // With the pages of position tokens at least.
  void restore(const Frontier& frontier);
  // Frees the rings: only restore() is allowed then, or drop_to(0).
  void give_back_rings();
  bool has_rings() const { return made_; }

 private:
  void make_rings();
  template <class Window, class Raw>
  void each_row(std::int64_t position, Window window, Raw raw);

  const Weights& weights_;
  std::unique_ptr<Pages> pages_;
  std::vector<LayerState> layers_;
  bool exact_, made_ = false;
  int chunk_max_;
  std::int64_t size_ = 0, floor_ = 0;  // rings are complete for positions >= floor_
  // The greatest size before the last drop: the rings hold rows up to there
  std::int64_t high_ = 0;
  Charge rings_;
};

}  // namespace lares::engine
