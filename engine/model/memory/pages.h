// The compressed entries and index keys of a sequence, in pages of 256 tokens that sequences with a
// common beginning share. A cell is a function of the tokens up to its own, so a page whose last
// token is in never changes; one that others hold is copied before it is written again.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/model/checkpoint/config.h"
#include "engine/model/memory/buffer.h"
#include "engine/model/memory/page_arena.h"
#include "engine/model/memory/sequence_memory.h"

namespace lares::engine {

inline constexpr int kPageTokens = 256;  // where all ratios divide it, as the release's do
// a multiple of all ratios otherwise; longer ones are refused
inline constexpr int kPageTokensMax = 1 << 14;

// Where the layers' cells lie in a page.
struct PageLayout {
  struct Rows {
    std::size_t offset = 0, row_bytes = 0;
    int n = 0;  // in a page
  };
  struct Layer {
    Rows entries, index_keys;  // n 0: none
  };
  int tokens = kPageTokens;
  std::size_t bytes = 0;
  std::vector<Layer> layers;
};

// Entries are floats [C] in exact numerics and kernels/cells.h's in released ones; index keys
// floats [Ci] or kernels/indexer.h's.
std::size_t entry_bytes(const Config& c, bool exact);
std::size_t index_key_bytes(const Config& c, bool exact);
// 0 where the ratios have no common multiple within kPageTokensMax.
int page_tokens(std::span<const int> ratios);
PageLayout page_layout(const Config& c, bool exact);

// Out of an arena, where there is one and pages are of its size.
template <class T>
struct PageAllocator : LineAllocator<T> {
  using value_type = T;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;
  using is_always_equal = std::false_type;

  PageAllocator() = default;
  explicit PageAllocator(std::shared_ptr<PageArena> from) : arena(std::move(from)) {}
  template <class U>
  PageAllocator(const PageAllocator<U>& other) : arena(other.arena) {}
  PageAllocator select_on_container_copy_construction() const { return {}; }

  T* allocate(std::size_t n) {
    return from_arena(n) ? static_cast<T*>(arena->take()) : LineAllocator<T>::allocate(n);
  }
  void deallocate(T* at, std::size_t n) {
    from_arena(n) ? arena->give(at) : LineAllocator<T>::deallocate(at, n);
  }
  bool operator==(const PageAllocator& other) const { return arena == other.arena; }

  std::shared_ptr<PageArena> arena;  // null: none

 private:
  bool from_arena(std::size_t n) const { return arena && n * sizeof(T) == arena->page_bytes(); }
};

// [PageLayout::bytes]; what no cell covers is zero, so that equal pages have equal bytes.
using Page = std::vector<std::uint8_t, PageAllocator<std::uint8_t>>;
using PageRef = std::shared_ptr<const Page>;
// Counted by `memory`, which may be null, until its last owner goes; its bytes are the caller's to
// write.
std::shared_ptr<Page> new_page(std::size_t bytes, const SequenceMemoryRef& memory);

class Pages {
 public:
  explicit Pages(PageLayout layout, SequenceMemoryRef memory = nullptr)
      : layout_(std::move(layout)), memory_(std::move(memory)) {}
  const PageLayout& layout() const { return layout_; }

  std::int64_t n_pages() const { return static_cast<std::int64_t>(pages_.size()); }
  const std::shared_ptr<Page>& page(std::int64_t i) const {
    return pages_[static_cast<std::size_t>(i)];
  }
  const std::uint8_t* const* bases() const { return bases_.data(); }  // [n_pages()], for kernels

  // From now on tokens [position, position + n) may be written: pages are there, and nobody else's.
  void open(std::int64_t position, std::int64_t n);
  // Bytes that open() would take for it.
  std::uint64_t missing_bytes(std::int64_t position, std::int64_t n) const;
  // Drops what no token before `position` is in.
  void cut(std::int64_t position);
  // The pages of the first n_tokens tokens, the last one perhaps with more in it; and such ones in
  // place of all there are.
  std::vector<PageRef> share(std::int64_t n_tokens) const;
  void adopt(std::span<const PageRef> pages);

 private:
  std::int64_t count(std::int64_t n_tokens) const {
    return (n_tokens + layout_.tokens - 1) / layout_.tokens;
  }
  PageLayout layout_;
  SequenceMemoryRef memory_;
  std::vector<std::shared_ptr<Page>> pages_;
  std::vector<const std::uint8_t*> bases_;
};

// One kind of a layer's cells, by their number.
class PagedRows {
 public:
  PagedRows() = default;
  PagedRows(const Pages& pages, const PageLayout::Rows& rows) : pages_(&pages), rows_(rows) {}

  int per_page() const { return rows_.n; }
  std::size_t offset() const { return rows_.offset; }
  std::size_t row_bytes() const { return rows_.row_bytes; }
  const std::uint8_t* const* bases() const { return pages_->bases(); }
  const std::uint8_t* row(std::int64_t j) const {
    return bases()[j / rows_.n] + rows_.offset +
           static_cast<std::size_t>(j % rows_.n) * rows_.row_bytes;
  }
  std::uint8_t* row(std::int64_t j) {
    return const_cast<std::uint8_t*>(std::as_const(*this).row(j));
  }  // within what Pages::open() gave

 private:
  const Pages* pages_ = nullptr;
  PageLayout::Rows rows_;
};

}  // namespace lares::engine
