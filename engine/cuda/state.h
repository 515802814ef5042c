// What a GPU remembers of a sequence, for its own layers: pages of compressed cells out of a pool
// that all sequences share, window rings and the compressors' open rows. Bytes are those of
// engine/model: a page is the GPU's stretch of a host page, a frontier its stretch of a host
// frontier, so that either side goes on with what the other left.
#pragma once

#include <memory>
#include <vector>

#include "engine/cuda/device.h"
#include "engine/cuda/weights.h"
#include "engine/cuda/work_space.h"
#include "engine/model/state.h"

namespace lares::engine::cuda {

// Who else holds a pool's pages, as copies of others that can be made again.
class PageKeeper {
 public:
  using Page = std::shared_ptr<std::uint8_t>;
  virtual ~PageKeeper() = default;
  virtual bool give_up_one() = 0;  // false: sequences hold all that there are
  virtual bool knows(const Page& page) const = 0;
  virtual void forget(const Page& page) = 0;
};

// Pages of equal size in one allocation. A page is given back when its last owner goes.
class PagePool {
 public:
  PagePool(Device& device, const PageLayout& layout, int layer_begin, int layer_end,
           std::int64_t n_pages);
  bool made() const { return static_cast<bool>(memory_) || bytes_ == 0; }

  using Page = PageKeeper::Page;  // device memory
  Page take();                    // null: all are taken
  // Asked when all are taken. It outlives the pool, or takes itself back; null: nobody.
  void keep_with(PageKeeper* keeper) { keeper_ = keeper; }
  // Whether nobody but its one owner, and the keeper, holds it; and that the keeper no longer does.
  bool is_ones_own(const Page& page) const {
    return page.use_count() == (keeper_ && keeper_->knows(page) ? 2 : 1);
  }
  void make_ones_own(const Page& page) {
    if (keeper_) keeper_->forget(page);
  }

  const PageLayout& layout() const { return layout_; }
  std::size_t offset() const { return offset_; }  // of the GPU's stretch in a host page
  std::size_t bytes() const { return bytes_; }    // of the stretch
  std::int64_t n_free() const { return static_cast<std::int64_t>(free_->size()); }

 private:
  const PageLayout layout_;
  const std::size_t offset_, bytes_;
  Memory memory_;
  PageKeeper* keeper_ = nullptr;
  // Outlives the pool in the pages that are still owned
  std::shared_ptr<std::vector<std::uint8_t*>> free_;
};

class DeviceState {
 public:
  // Of the layers that `weights` has. Both it and the pool must outlive it.
  DeviceState(Device& device, const DeviceWeights& weights, PagePool& pool, std::int64_t n_context);
  bool made() const { return static_cast<bool>(rings_) && static_cast<bool>(table_); }

  std::int64_t size() const { return size_; }
  void advance(std::int64_t n) { size_ += n; }

  // Tokens [position, position + n) may be written from now on: pages are there, and nobody else's.
  // no_memory: the pool is empty.
  Result<> open(std::int64_t position, std::int64_t n);
  // Pages that open() would take for all up to `size` tokens.
  std::int64_t missing_pages(std::int64_t size) const;
  // Its place for a layer, with tokens from size() on; [begin, begin + n) of the launch.
  kc::Part part(int layer, std::int32_t begin, std::int32_t n) const;
  int raw_capacity(int layer) const;
  int raw_index_capacity(int layer) const;
  static int window_capacity(const Config& c) { return c.sliding_window + kRollback; }

  // The newest kRollback tokens can be dropped for nothing, from the greatest size held.
  bool can_drop_to(std::int64_t position) const;
  void drop_to(std::int64_t position);
  // Of its layers, at size() or up to kRollback before it, in engine/model's form.
  std::vector<std::uint8_t> frontier(std::int64_t position) const;
  std::size_t frontier_bytes(std::int64_t position) const;
  void restore(std::int64_t position, std::span<const std::uint8_t> frontier);

  // These in place of all there are.
  void adopt(std::vector<PagePool::Page> pages);
  // The GPU's stretch of page i, into the same stretch of a host page, zeros where there is none;
  // it is there when the device has been synchronised.
  void download(std::int64_t i, std::uint8_t* page) const;
  const std::vector<PagePool::Page>& pages() const { return pages_; }
  std::int64_t n_pages() const { return static_cast<std::int64_t>(pages_.size()); }

 private:
  struct Rings {
    std::uint64_t window = 0, raw = 0, raw_index = 0;  // where they begin in rings_
    std::size_t raw_row = 0, raw_index_row = 0;        // bytes; 0: none
  };
  template <class Run>
  void each_run(std::int64_t position, Run run) const;
  void write_table(std::size_t from);
  std::int64_t count(std::int64_t n_tokens) const {
    return (n_tokens + pool_.layout().tokens - 1) / pool_.layout().tokens;
  }

  Device& device_;
  const DeviceWeights& weights_;
  const Config& c_;
  PagePool& pool_;
  std::vector<Rings> layout_;
  Memory rings_, table_;  // table_: [pages of the context] pointers
  std::vector<PagePool::Page> pages_;
  std::int64_t size_ = 0, floor_ = 0, high_ = 0;
};

}  // namespace lares::engine::cuda
