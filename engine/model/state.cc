#include "engine/model/state.h"

#include <algorithm>
#include <cstring>

#include "kernels/indexer.h"

namespace lares::engine {
namespace {

// First raw row the compressor still needs when `position` tokens are in.
std::int64_t first_open(const CompressorWeights& c, std::int64_t position) {
  const std::int64_t group = position / c.ratio;
  return c.ratio == 4 ? std::max<std::int64_t>(0, 4 * (group - 1)) : c.ratio * group;
}

using Cache = std::vector<std::uint8_t>;

std::size_t cell_bytes(bool exact) { return exact ? 4 : 2; }

// Every layer's entries and index keys, with the bytes that those of n_tokens tokens take.
template <class Layers, class F>
void each_cache(const Weights& weights, Layers& layers, bool exact, std::int64_t n_tokens, F f) {
  const Config& c = weights.checkpoint.config();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerWeights& w = weights.layers[i];
    if (w.ratio == 0) continue;
    const auto n = static_cast<std::size_t>(n_tokens / w.ratio);
    f(layers[i].entries, n * c.head_dim * cell_bytes(exact));
    if (w.indexer) f(layers[i].index_keys, n * index_key_bytes(c, exact));
  }
}

}  // namespace

std::size_t index_key_bytes(const Config& c, bool exact) {
  return exact ? sizeof(float) * static_cast<std::size_t>(c.index_head_dim) : kernels::index_key_bytes(c.index_head_dim);
}

State::State(const Weights& weights, bool exact, int chunk_max)
    : weights_(weights), layers_(weights.layers.size()), exact_(exact), chunk_max_(chunk_max) {
  const Config& c = weights.checkpoint.config();
  const int slack = chunk_max + kRollback;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerWeights& w = weights.layers[i];
    layers_[i].window.resize(c.sliding_window + slack, cell_bytes(exact) * c.head_dim);
    if (w.compressor) layers_[i].raw.resize(w.compressor->rows() + slack, sizeof(float) * 2 * w.compressor->width());
    if (w.indexer) layers_[i].raw_index.resize(w.indexer->compressor.rows() + slack, sizeof(float) * 2 * w.indexer->compressor.width());
  }
}

std::uint64_t State::bytes(const Weights& weights, bool exact, std::int64_t n_tokens, int chunk_max) {
  const Config& c = weights.checkpoint.config();
  const std::uint64_t cell = cell_bytes(exact), slack = static_cast<std::uint64_t>(chunk_max) + kRollback;
  std::uint64_t total = 0;
  for (const LayerWeights& w : weights.layers) {
    total += (c.sliding_window + slack) * cell * c.head_dim;
    if (w.compressor) total += (w.compressor->rows() + slack) * sizeof(float) * 2 * w.compressor->width();
    if (w.indexer) total += (w.indexer->compressor.rows() + slack) * sizeof(float) * 2 * w.indexer->compressor.width();
    if (w.ratio != 0) total += static_cast<std::uint64_t>(n_tokens / w.ratio) * (cell * c.head_dim + (w.indexer ? index_key_bytes(c, exact) : 0));
  }
  return total;
}

std::uint64_t State::missing_bytes(std::int64_t n_tokens) const {
  std::uint64_t missing = 0;
  each_cache(weights_, layers_, exact_, n_tokens, [&](const Cache& held, std::size_t wanted) { missing += wanted > held.capacity() ? wanted : 0; });
  return missing;
}

void State::reserve(std::int64_t n_tokens) {
  each_cache(weights_, layers_, exact_, n_tokens, [](Cache& cache, std::size_t bytes) { cache.reserve(bytes); });
}

template <class F>
void State::each_row(std::int64_t position, F f) {
  const std::int64_t window = weights_.checkpoint.config().sliding_window;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerWeights& w = weights_.layers[i];
    for (auto p = std::max<std::int64_t>(0, position - window); p < position; ++p) f(layers_[i].window, p);
    if (w.compressor)
      for (auto p = first_open(*w.compressor, position); p < position; ++p) f(layers_[i].raw, p);
    if (w.indexer)
      for (auto p = first_open(w.indexer->compressor, position); p < position; ++p) f(layers_[i].raw_index, p);
  }
}

bool State::can_drop_to(std::int64_t position) const {
  if (position == 0 || position == size_) return true;
  return position < size_ && position >= floor_ && position >= std::max(high_, size_) - chunk_max_ - kRollback;
}

void State::cut_entries() {
  each_cache(weights_, layers_, exact_, size_, [](Cache& cache, std::size_t bytes) { cache.resize(bytes); });
}

void State::drop_to(std::int64_t position) {
  high_ = position == 0 ? 0 : std::max(high_, size_);
  size_ = position;
  if (position == 0) floor_ = 0;
  cut_entries();
}

State::Snapshot State::snapshot() const {
  Snapshot s{size_, {}};
  const_cast<State*>(this)->each_row(size_, [&](const Ring& ring, std::int64_t p) {
    s.bytes.insert(s.bytes.end(), ring.row(p), ring.row(p) + ring.row_bytes());
  });
  return s;
}

void State::restore(const Snapshot& snapshot) {
  size_ = floor_ = high_ = snapshot.position;
  const std::uint8_t* from = snapshot.bytes.data();
  each_row(size_, [&](Ring& ring, std::int64_t p) {
    std::memcpy(ring.row(p), from, ring.row_bytes());
    from += ring.row_bytes();
  });
  cut_entries();
}

}  // namespace lares::engine
