#include "engine/model/state.h"

#include <algorithm>
#include <cstring>

#include "kernels/indexer.h"

namespace lares::engine {
namespace {

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

void RawRows::resize(const CompressorWeights& c) {
  ring_.resize(c.rows() + kRollback, sizeof(float) * 2 * c.width());
  ratio_ = c.ratio;
}

std::uint64_t RawRows::bytes(const CompressorWeights& c) { return static_cast<std::uint64_t>(c.rows() + kRollback) * sizeof(float) * 2 * c.width(); }

std::int64_t RawRows::first_open(std::int64_t position) const {
  const std::int64_t group = position / ratio_;
  return ratio_ == 4 ? std::max<std::int64_t>(0, 4 * (group - 1)) : ratio_ * group;
}

const std::uint8_t* RawRows::row(std::int64_t position) const {
  const auto at = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& k) { return k.position == position; });
  return at != kept_.end() ? at->row.data() : ring_.row(position);
}

void RawRows::put(std::int64_t position, int n, const float* values, const float* gates) {
  const std::size_t half = row_bytes() / 2, width = half / sizeof(float);
  const auto write = [&](std::int64_t p, std::uint8_t* to) {
    const std::size_t at = static_cast<std::size_t>(p - position) * width;
    std::memcpy(to, values + at, half);
    std::memcpy(to + half, gates + at, half);
  };
  kept_.clear();
  const std::int64_t end = position + n;
  for (std::int64_t p = (position / kSnapshotEvery + 1) * kSnapshotEvery; p < end; p += kSnapshotEvery)
    for (std::int64_t q = first_open(p); q < p; ++q) {
      auto& row = kept_.emplace_back(q, std::vector<std::uint8_t>(row_bytes())).row;
      if (q < position) std::memcpy(row.data(), ring_.row(q), row_bytes());
      else write(q, row.data());
    }
  for (std::int64_t p = std::max(position, end - ring_.capacity()); p < end; ++p) write(p, ring_.row(p));
}

State::State(const Weights& weights, bool exact, int chunk_max)
    : weights_(weights), layers_(weights.layers.size()), exact_(exact), chunk_max_(chunk_max) {
  const Config& c = weights.checkpoint.config();
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerWeights& w = weights.layers[i];
    layers_[i].window.resize(c.sliding_window + chunk_max + kRollback, cell_bytes(exact) * c.head_dim);
    if (w.compressor) layers_[i].raw.resize(*w.compressor);
    if (w.indexer) layers_[i].raw_index.resize(w.indexer->compressor);
  }
}

std::uint64_t State::bytes(const Weights& weights, bool exact, std::int64_t n_tokens, int chunk_max) {
  const Config& c = weights.checkpoint.config();
  const std::uint64_t cell = cell_bytes(exact);
  std::uint64_t total = 0;
  for (const LayerWeights& w : weights.layers) {
    total += static_cast<std::uint64_t>(c.sliding_window + chunk_max + kRollback) * cell * c.head_dim;
    if (w.compressor) total += RawRows::bytes(*w.compressor);
    if (w.indexer) total += RawRows::bytes(w.indexer->compressor);
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
      for (auto p = layers_[i].raw.first_open(position); p < position; ++p) f(layers_[i].raw, p);
    if (w.indexer)
      for (auto p = layers_[i].raw_index.first_open(position); p < position; ++p) f(layers_[i].raw_index, p);
  }
}

bool State::can_drop_to(std::int64_t position) const {
  if (position == 0 || position == size_) return true;
  return position < size_ && position >= floor_ && position >= std::max(high_, size_) - kRollback;
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

State::Snapshot State::snapshot(std::int64_t position) const {
  Snapshot s{position, {}};
  const_cast<State*>(this)->each_row(position, [&](const auto& rows, std::int64_t p) {
    const std::uint8_t* const row = rows.row(p);
    s.bytes.insert(s.bytes.end(), row, row + rows.row_bytes());
  });
  return s;
}

void State::restore(const Snapshot& snapshot) {
  size_ = floor_ = high_ = snapshot.position;
  const std::uint8_t* from = snapshot.bytes.data();
  each_row(size_, [&](auto& rows, std::int64_t p) {
    std::memcpy(rows.row(p), from, rows.row_bytes());
    from += rows.row_bytes();
  });
  cut_entries();
}

}  // namespace lares::engine
