#include "engine/cuda/state.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/cuda/layout.h"
#include "kernels/cells.h"

namespace lares::engine::cuda {
namespace {

// The first row that a position's open groups need, as RawRows has it.
std::int64_t first_open(std::int64_t position, int ratio) {
  const std::int64_t group = position / ratio;
  return ratio == 4 ? std::max<std::int64_t>(0, 4 * (group - 1)) : ratio * group;
}

}  // namespace

PagePool::PagePool(Device& device, const PageLayout& layout, int layer_begin, int layer_end,
                   std::int64_t n_pages)
    : layout_(layout),
      offset_(page_offset(layout, layer_begin)),
      bytes_(page_offset(layout, layer_end) - offset_),
      free_(std::make_shared<std::vector<std::uint8_t*>>()) {
  if (bytes_ == 0) return;
  const std::size_t apart = aligned(bytes_);
  memory_ = Memory(device, apart * static_cast<std::size_t>(n_pages));
  if (!memory_) return;
  device.clear(memory_.data(), memory_.size());
  for (std::int64_t i = n_pages; i-- > 0;)
    free_->push_back(memory_.data() + static_cast<std::size_t>(i) * apart);
}

PagePool::Page PagePool::take() {
  while (free_->empty())
    if (!keeper_ || !keeper_->give_up_one()) return nullptr;
  std::uint8_t* const page = free_->back();
  free_->pop_back();
  return {page, [free = free_](std::uint8_t* p) { free->push_back(p); }};
}

DeviceState::DeviceState(Device& device, const DeviceWeights& weights, PagePool& pool,
                         std::int64_t n_context)
    : device_(device), weights_(weights), c_(weights.config()), pool_(pool) {
  std::uint64_t at = 0;
  const auto take = [&](std::uint64_t bytes) { return std::exchange(at, at + aligned(bytes)); };
  for (int i = weights.begin(); i < weights.end(); ++i) {
    const LayerWeights& w = *weights.layer(i).host;
    Rings& r = layout_.emplace_back();
    r.window = take(static_cast<std::uint64_t>(window_capacity(c_)) *
                    kernels::cell_bytes(c_.head_dim, c_.qk_rope_head_dim));
    if (w.compressor) {
      r.raw_row = sizeof(float) * 2 * static_cast<std::size_t>(w.compressor->width());
      r.raw = take(static_cast<std::uint64_t>(raw_capacity(i)) * r.raw_row);
    }
    if (w.indexer) {
      r.raw_index_row = sizeof(float) * 2 * static_cast<std::size_t>(w.indexer->compressor.width());
      r.raw_index = take(static_cast<std::uint64_t>(raw_index_capacity(i)) * r.raw_index_row);
    }
  }
  rings_ = Memory(device, at);
  table_ = Memory(device, sizeof(std::uint8_t*) * static_cast<std::size_t>(
                                                      std::max<std::int64_t>(1, count(n_context))));
}

int DeviceState::raw_capacity(int layer) const {
  const auto& w = weights_.layer(layer).host->compressor;
  return w ? w->rows() + kRollback : 0;
}
int DeviceState::raw_index_capacity(int layer) const {
  const auto& w = weights_.layer(layer).host->indexer;
  return w ? w->compressor.rows() + kRollback : 0;
}

void DeviceState::write_table(std::size_t from) {
  if (from >= pages_.size()) return;
  std::vector<std::uint8_t*> table;
  for (std::size_t i = from; i < pages_.size(); ++i) table.push_back(pages_[i].get());
  device_.to_device(table_.data() + from * sizeof(std::uint8_t*), table.data(),
                    table.size() * sizeof(std::uint8_t*));
  device_.synchronise();  // the vector goes away
}

Result<> DeviceState::open(std::int64_t position, std::int64_t n) {
  if (pool_.bytes() == 0) return {};
  const std::int64_t first = position / pool_.layout().tokens;
  std::size_t changed = pages_.size();
  for (std::int64_t i = first; i < count(position + n); ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (at < pages_.size() && pages_[at].use_count() == 1) continue;
    PagePool::Page page = pool_.take();
    if (!page && at < pages_.size() && pool_.is_ones_own(pages_[at])) {
      pool_.make_ones_own(pages_[at]);
      continue;
    }
    if (!page) {
      write_table(changed);
      return tl::unexpected(Error{
          Errc::no_memory, fmt::format("evaluate tokens up to {}: all pages of {} tokens on {} are "
                                       "taken; end a session, or load with a longer context",
                                       position + n, pool_.layout().tokens, device_.name())});
    }
    if (at < pages_.size())
      device_.on_device(page.get(), pages_[at].get(), pool_.bytes());
    else
      device_.clear(page.get(), pool_.bytes());
    if (at == pages_.size())
      pages_.push_back(std::move(page));
    else
      pages_[at] = std::move(page);
    changed = std::min(changed, at);
  }
  write_table(changed);
  return {};
}

std::int64_t DeviceState::missing_pages(std::int64_t size) const {
  if (pool_.bytes() == 0) return 0;
  std::int64_t n = 0;
  for (std::int64_t i = size_ / pool_.layout().tokens; i < count(size); ++i)
    n += i >= n_pages() || !pool_.is_ones_own(pages_[static_cast<std::size_t>(i)]);
  return n;
}

kc::Part DeviceState::part(int layer, std::int32_t begin, std::int32_t n) const {
  const Rings& r = layout_[static_cast<std::size_t>(layer - weights_.begin())];
  return {.window = rings_.data() + r.window,
          .raw = r.raw_row ? reinterpret_cast<float*>(rings_.data() + r.raw) : nullptr,
          .raw_index = r.raw_index_row ? reinterpret_cast<float*>(rings_.data() + r.raw_index)
                                       : nullptr,
          .pages = reinterpret_cast<std::uint8_t* const*>(table_.data()),
          .position = size_,
          .begin = begin,
          .n = n};
}

bool DeviceState::can_drop_to(std::int64_t position) const {
  if (position == 0 || position == size_) return true;
  return position < size_ && position >= floor_ && position >= std::max(high_, size_) - kRollback;
}

void DeviceState::drop_to(std::int64_t position) {
  high_ = position == 0 ? 0 : std::max(high_, size_);
  size_ = position;
  if (position == 0) floor_ = 0;
  if (count(position) < n_pages()) pages_.resize(static_cast<std::size_t>(count(position)));
}

// run(where on the GPU, bytes) of everything a frontier at `position` has, in engine/model's order;
// a ring's rows in one or two runs.
template <class Run>
void DeviceState::each_run(std::int64_t position, Run run) const {
  const auto ring = [&](std::uint64_t at, std::size_t row, int capacity, std::int64_t first) {
    for (std::int64_t p = first; p < position;) {
      const std::int64_t n = std::min(position - p, capacity - p % capacity);
      run(rings_.data() + at + static_cast<std::uint64_t>(p % capacity) * row,
          static_cast<std::size_t>(n) * row);
      p += n;
    }
  };
  for (int i = weights_.begin(); i < weights_.end(); ++i) {
    const Rings& r = layout_[static_cast<std::size_t>(i - weights_.begin())];
    const LayerWeights& w = *weights_.layer(i).host;
    ring(r.window, kernels::cell_bytes(c_.head_dim, c_.qk_rope_head_dim), window_capacity(c_),
         std::max<std::int64_t>(0, position - c_.sliding_window));
    if (w.compressor) ring(r.raw, r.raw_row, raw_capacity(i), first_open(position, w.ratio));
    if (w.indexer)
      ring(r.raw_index, r.raw_index_row, raw_index_capacity(i), first_open(position, w.ratio));
  }
}

std::size_t DeviceState::frontier_bytes(std::int64_t position) const {
  std::size_t n = 0;
  each_run(position, [&](std::uint8_t*, std::size_t bytes) { n += bytes; });
  return n;
}

std::vector<std::uint8_t> DeviceState::frontier(std::int64_t position) const {
  std::vector<std::uint8_t> out(frontier_bytes(position));
  std::uint8_t* to = out.data();
  each_run(position, [&](std::uint8_t* at, std::size_t bytes) {
    device_.to_host(to, at, bytes);
    to += bytes;
  });
  device_.synchronise();
  return out;
}

void DeviceState::restore(std::int64_t position, std::span<const std::uint8_t> frontier) {
  size_ = floor_ = high_ = position;
  const std::uint8_t* from = frontier.data();
  each_run(position, [&](std::uint8_t* at, std::size_t bytes) {
    device_.to_device(at, from, bytes);
    from += bytes;
  });
  device_.synchronise();
  if (count(position) < n_pages()) pages_.resize(static_cast<std::size_t>(count(position)));
}

void DeviceState::adopt(std::vector<PagePool::Page> pages) {
  pages_ = std::move(pages);
  write_table(0);
}

void DeviceState::download(std::int64_t i, std::uint8_t* page) const {
  if (i < n_pages())
    device_.to_host(page + pool_.offset(), pages_[static_cast<std::size_t>(i)].get(),
                    pool_.bytes());
  else
    std::fill_n(page + pool_.offset(), pool_.bytes(), std::uint8_t{0});
}

}  // namespace lares::engine::cuda
