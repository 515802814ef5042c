#include "engine/model/state.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "kernels/dispatch.h"

namespace lares::engine {
namespace {

// Of a window's row.
std::size_t row_bytes(const Config& c, bool exact) {
  return (exact ? 4 : 2) * static_cast<std::size_t>(c.head_dim);
}

}  // namespace

void RawRows::plan(const CompressorWeights& c) {
  ring_.plan(c.rows() + kRollback, sizeof(float) * 2 * c.width());
  ratio_ = c.ratio;
}

std::uint64_t RawRows::bytes(const CompressorWeights& c) {
  return static_cast<std::uint64_t>(c.rows() + kRollback) * sizeof(float) * 2 * c.width();
}

std::int64_t RawRows::first_open(std::int64_t position) const {
  const std::int64_t group = position / ratio_;
  return ratio_ == 4 ? std::max<std::int64_t>(0, 4 * (group - 1)) : ratio_ * group;
}

const std::uint8_t* RawRows::row(std::int64_t position) const {
  const auto at = std::find_if(kept_.begin(), kept_.end(),
                               [&](const Kept& k) { return k.position == position; });
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
  for (std::int64_t p = (position / kSnapshotEvery + 1) * kSnapshotEvery; p < end;
       p += kSnapshotEvery)
    for (std::int64_t q = first_open(p); q < p; ++q) {
      auto& row = kept_.emplace_back(q, std::vector<std::uint8_t>(row_bytes())).row;
      if (q < position)
        std::memcpy(row.data(), ring_.row(q), row_bytes());
      else
        write(q, row.data());
    }
  for (std::int64_t p = std::max(position, end - ring_.capacity()); p < end; ++p)
    write(p, ring_.row(p));
}

FrontierRef shared(Frontier frontier, const SequenceMemoryRef& memory) {
  const std::size_t bytes = frontier.bytes.size();
  return counted(std::move(frontier), bytes, memory);
}

State::State(const Weights& weights, bool exact, int chunk_max, const SequenceMemoryRef& memory)
    : weights_(weights),
      pages_(std::make_unique<Pages>(page_layout(weights.checkpoint.config(), exact), memory)),
      layers_(weights.layers.size()),
      exact_(exact),
      chunk_max_(chunk_max),
      rings_(memory, 0) {
  const Config& c = weights.checkpoint.config();
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerWeights& w = weights.layers[i];
    const PageLayout::Layer& at = pages_->layout().layers[i];
    layers_[i].window.plan(c.sliding_window + chunk_max + kRollback, row_bytes(c, exact));
    if (at.entries.n) layers_[i].entries = {*pages_, at.entries};
    if (at.index_keys.n) layers_[i].index_keys = {*pages_, at.index_keys};
    if (w.compressor) layers_[i].raw.plan(*w.compressor);
    if (w.indexer) layers_[i].raw_index.plan(w.indexer->compressor);
  }
}

// Not before something is written: a fork may wait for long, and must cost nothing.
void State::make_rings() {
  if (std::exchange(made_, true)) return;
  for (LayerState& layer : layers_) {
    layer.window.make();
    layer.raw.make();
    layer.raw_index.make();
  }
  rings_.set(bytes(weights_, exact_, 0, chunk_max_));
}

void State::give_back_rings() {
  if (!std::exchange(made_, false)) return;
  for (LayerState& layer : layers_) {
    layer.window.give_back();
    layer.raw.give_back();
    layer.raw_index.give_back();
  }
  rings_.set(0);
}

void State::open(std::int64_t position, std::int64_t n) {
  make_rings();
  pages_->open(position, n);
}

std::uint64_t State::bytes(const Weights& weights, bool exact, std::int64_t n_tokens,
                           int chunk_max) {
  const Config& c = weights.checkpoint.config();
  std::uint64_t total = 0;
  for (const LayerWeights& w : weights.layers) {
    total += static_cast<std::uint64_t>(c.sliding_window + chunk_max + kRollback) *
             row_bytes(c, exact);
    if (w.compressor) total += RawRows::bytes(*w.compressor);
    if (w.indexer) total += RawRows::bytes(w.indexer->compressor);
  }
  const PageLayout layout = page_layout(c, exact);
  return total +
         static_cast<std::uint64_t>((n_tokens + layout.tokens - 1) / layout.tokens) * layout.bytes;
}

std::uint64_t State::missing_bytes(std::int64_t n_tokens) const {
  const PageLayout& layout = pages_->layout();
  const std::int64_t wanted = (n_tokens + layout.tokens - 1) / layout.tokens;
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, wanted - pages_->n_pages())) *
         layout.bytes;
}

template <class Window, class Raw>
void State::each_row(std::int64_t position, Window window, Raw raw) {
  const std::int64_t n = weights_.checkpoint.config().sliding_window;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const LayerWeights& w = weights_.layers[i];
    for (auto p = std::max<std::int64_t>(0, position - n); p < position; ++p)
      window(layers_[i].window, p);
    if (w.compressor)
      for (auto p = layers_[i].raw.first_open(position); p < position; ++p) raw(layers_[i].raw, p);
    if (w.indexer)
      for (auto p = layers_[i].raw_index.first_open(position); p < position; ++p)
        raw(layers_[i].raw_index, p);
  }
}

bool State::can_drop_to(std::int64_t position) const {
  if (position == 0 || position == size_) return true;
  return position < size_ && position >= floor_ && position >= std::max(high_, size_) - kRollback;
}

void State::drop_to(std::int64_t position) {
  high_ = position == 0 ? 0 : std::max(high_, size_);
  size_ = position;
  if (position == 0) floor_ = 0;
  pages_->cut(size_);
}

std::size_t State::frontier_bytes(std::int64_t position) const {
  std::size_t n = 0;
  const std::size_t cell = entry_bytes(weights_.checkpoint.config(), exact_);
  const_cast<State*>(this)->each_row(
      position, [&](const Ring&, std::int64_t) { n += cell; },
      [&](const RawRows& rows, std::int64_t) { n += rows.row_bytes(); });
  return n;
}

Frontier State::frontier(std::int64_t position) const {
  const Config& c = weights_.checkpoint.config();
  Frontier f{position, std::vector<std::uint8_t>(frontier_bytes(position))};
  std::uint8_t* to = f.bytes.data();
  std::vector<float> values(static_cast<std::size_t>(c.head_dim));
  const auto window = [&](const Ring& rows, std::int64_t p) {
    const std::uint8_t* const row = rows.row(p);
    if (exact_) {
      std::memcpy(to, row, rows.row_bytes());
    } else {
      for (std::size_t i = 0; i < values.size(); ++i) {
        std::uint16_t high;
        std::memcpy(&high, row + 2 * i, 2);
        values[i] = std::bit_cast<float>(static_cast<std::uint32_t>(high) << 16);
      }
      kernels::pack_cell(values.data(), c.head_dim, c.qk_rope_head_dim, to);
    }
    to += entry_bytes(c, exact_);
  };
  const_cast<State*>(this)->each_row(position, window, [&](const RawRows& rows, std::int64_t p) {
    std::memcpy(to, rows.row(p), rows.row_bytes());
    to += rows.row_bytes();
  });
  return f;
}

void State::restore(const Frontier& frontier) {
  const Config& c = weights_.checkpoint.config();
  make_rings();
  size_ = floor_ = high_ = frontier.position;
  const std::uint8_t* from = frontier.bytes.data();
  const auto window = [&](Ring& rows, std::int64_t p) {
    const void* const cell = from;
    if (exact_)
      std::memcpy(rows.row(p), from, rows.row_bytes());
    else
      kernels::best().unpack_cells({.cells = &cell,
                                    .rows = reinterpret_cast<std::uint16_t*>(rows.row(p)),
                                    .n = 1,
                                    .head_dim = c.head_dim,
                                    .rope_dim = c.qk_rope_head_dim});
    from += entry_bytes(c, exact_);
  };
  each_row(size_, window, [&](RawRows& rows, std::int64_t p) {
    std::memcpy(rows.row(p), from, rows.row_bytes());
    from += rows.row_bytes();
  });
  pages_->cut(size_);
}

}  // namespace lares::engine
