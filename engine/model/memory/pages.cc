#include "engine/model/memory/pages.h"

#include <cstring>
#include <numeric>

#include "kernels/cells.h"
#include "kernels/indexer.h"

namespace lares::engine {

std::size_t entry_bytes(const Config& c, bool exact) {
  return exact ? sizeof(float) * static_cast<std::size_t>(c.head_dim)
               : kernels::cell_bytes(c.head_dim, c.qk_rope_head_dim);
}

std::size_t index_key_bytes(const Config& c, bool exact) {
  return exact ? sizeof(float) * static_cast<std::size_t>(c.index_head_dim)
               : kernels::index_key_bytes(c.index_head_dim);
}

int page_tokens(std::span<const int> ratios) {
  std::int64_t unit = 1;
  for (const int r : ratios)
    if (r > 0) {
      unit = std::lcm(unit, static_cast<std::int64_t>(r));
      if (unit > kPageTokensMax) return 0;
    }
  return static_cast<int>((kPageTokens + unit - 1) / unit * unit);
}

PageLayout page_layout(const Config& c, bool exact) {
  PageLayout p;
  p.tokens = page_tokens(c.compress_ratios);
  const auto lay = [&](std::size_t row_bytes, int ratio) {
    const PageLayout::Rows rows{p.bytes, row_bytes, p.tokens / ratio};
    p.bytes += (row_bytes * static_cast<std::size_t>(rows.n) + kCacheLine - 1) / kCacheLine *
               kCacheLine;
    return rows;
  };
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    PageLayout::Layer& layer = p.layers.emplace_back();
    if (c.ratio(i) == 0) continue;
    layer.entries = lay(entry_bytes(c, exact), c.ratio(i));
    if (c.ratio(i) == 4) layer.index_keys = lay(index_key_bytes(c, exact), 4);
  }
  return p;
}

std::shared_ptr<Page> new_page(std::size_t bytes, const SequenceMemoryRef& memory) {
  const PageAllocator<std::uint8_t> from(memory ? memory->arena() : nullptr);
  // No constructor that goes over it byte by byte
  return counted(Page(bytes, from), bytes, memory);
}

void Pages::open(std::int64_t position, std::int64_t n) {
  for (std::int64_t i = position / layout_.tokens; i < count(position + n); ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (at == pages_.size()) {
      pages_.push_back(new_page(layout_.bytes, memory_));
      std::memset(pages_[at]->data(), 0, layout_.bytes);
      bases_.push_back(nullptr);
    } else if (pages_[at].use_count() > 1) {
      auto own = new_page(layout_.bytes, memory_);
      std::memcpy(own->data(), pages_[at]->data(), layout_.bytes);
      pages_[at] = std::move(own);
    }
    bases_[at] = pages_[at]->data();
  }
}

std::uint64_t Pages::missing_bytes(std::int64_t position, std::int64_t n) const {
  std::uint64_t bytes = 0;
  for (std::int64_t i = position / layout_.tokens; i < count(position + n); ++i)
    if (i >= n_pages() || page(i).use_count() > 1) bytes += layout_.bytes;
  return bytes;
}

void Pages::cut(std::int64_t position) {
  if (count(position) >= n_pages()) return;
  pages_.resize(static_cast<std::size_t>(count(position)));
  bases_.resize(pages_.size());
}

std::vector<PageRef> Pages::share(std::int64_t n_tokens) const {
  return {pages_.begin(), pages_.begin() + count(n_tokens)};
}

void Pages::adopt(std::span<const PageRef> pages) {
  pages_.clear();
  bases_.clear();
  for (const PageRef& page : pages) {
    pages_.push_back(std::const_pointer_cast<Page>(page));  // open() never writes what is shared
    bases_.push_back(page->data());
  }
}

}  // namespace lares::engine
