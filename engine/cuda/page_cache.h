// Which host pages have a copy on the GPU: sequences with a common beginning share it, and it goes,
// the longest unused first, when others need the room. Host pages are the tier below; the daemon's
// store keeps those on the disk.
#pragma once

#include <cstdint>
#include <limits>
#include <unordered_map>
#include <vector>

#include "engine/cuda/state.h"

namespace lares::engine::cuda {

class PageCache : private PageKeeper {
 public:
  PageCache(Device& device, PagePool& pool);
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;
  ~PageCache();

  // Copies of these on the GPU, made where there were none; of the first n_known it knows from then
  // on, others that were made are the caller's alone. no_memory: there is no room for all of them
  // together.
  Result<std::vector<PagePool::Page>> bring(
      std::span<const PageRef> pages,
      std::size_t n_known = std::numeric_limits<std::size_t>::max());
  // `device` has the bytes of `host` from now on, both never written again. In place of another
  // host page that it had those of.
  void know(const PageRef& host, const PagePool::Page& device);
  // The host page that has the bytes of `device`; null: none is known, or it is gone.
  PageRef host_of(const PagePool::Page& device) const;

  // Pages that the pool can give: free ones, and copies that no sequence holds.
  std::int64_t n_available() const;
  std::int64_t brought() const { return brought_; }  // pages that were copied
  std::size_t size() const { return known_.size(); }

 private:
  struct Known {
    std::weak_ptr<const engine::Page> host;
    PagePool::Page device;
    std::uint64_t used = 0;  // the last call that wanted it
  };
  using Entries = std::unordered_map<const engine::Page*, Known>;
  void put(const PageRef& host, const PagePool::Page& device);
  void forget(Entries::iterator at);
  bool give_up_one() override;
  bool knows(const PagePool::Page& page) const override { return hosts_.contains(page.get()); }
  void forget(const PagePool::Page& page) override;

  Device& device_;
  PagePool& pool_;
  Entries known_;
  // One of each device page, so that known_ holds it once.
  std::unordered_map<const std::uint8_t*, const engine::Page*> hosts_;
  std::uint64_t clock_ = 0;
  std::int64_t brought_ = 0;
};

}  // namespace lares::engine::cuda
