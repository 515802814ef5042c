#include "engine/cuda/page_cache.h"

#include <fmt/format.h>

#include <algorithm>

namespace lares::engine::cuda {

PageCache::PageCache(Device& device, PagePool& pool) : device_(device), pool_(pool) {
  pool_.keep_with(this);
}
PageCache::~PageCache() { pool_.keep_with(nullptr); }

void PageCache::put(const PageRef& host, const PagePool::Page& device) {
  if (const auto other = hosts_.find(device.get()); other != hosts_.end())
    forget(known_.find(other->second));
  if (const auto stale = known_.find(host.get()); stale != known_.end()) forget(stale);
  known_.emplace(host.get(), Known{host, device, clock_});
  hosts_.emplace(device.get(), host.get());
}
void PageCache::forget(Entries::iterator at) {
  hosts_.erase(at->second.device.get());
  known_.erase(at);
}

void PageCache::forget(const PagePool::Page& page) {
  if (const auto at = hosts_.find(page.get()); at != hosts_.end()) forget(known_.find(at->second));
}

PageRef PageCache::host_of(const PagePool::Page& device) const {
  const auto at = hosts_.find(device.get());
  return at == hosts_.end() ? nullptr : known_.at(at->second).host.lock();
}

std::int64_t PageCache::n_available() const {
  return pool_.n_free() + std::ranges::count_if(known_, [](const auto& known) {
           return known.second.device.use_count() == 1;
         });
}

// A copy that no sequence holds: of a host page that is gone, or the longest unused.
bool PageCache::give_up_one() {
  auto victim = known_.end();
  for (auto at = known_.begin(); at != known_.end(); ++at) {
    if (at->second.device.use_count() > 1) continue;
    if (at->second.host.expired()) {
      victim = at;
      break;
    }
    if (victim == known_.end() || at->second.used < victim->second.used) victim = at;
  }
  if (victim == known_.end()) return false;
  forget(victim);
  return true;
}

Result<std::vector<PagePool::Page>> PageCache::bring(std::span<const PageRef> pages,
                                                     std::size_t n_known) {
  std::vector<PagePool::Page> out;
  if (pool_.bytes() == 0) return out;
  ++clock_;
  for (const PageRef& page : pages) {
    const auto at = known_.find(page.get());
    if (at != known_.end() && at->second.host.lock() == page) {
      at->second.used = clock_;
      out.push_back(at->second.device);
      continue;
    }
    PagePool::Page ours = pool_.take();
    if (!ours) {
      device_.synchronise();  // copies to what goes now
      return tl::unexpected(
          Error{Errc::no_memory,
                fmt::format("take over a prefix of {} pages: {} has room for {} beside what other "
                            "sequences hold; end a session, or load with a longer context",
                            pages.size(), device_.name(), out.size())});
    }
    device_.to_device(ours.get(), page->data() + pool_.offset(), pool_.bytes());
    ++brought_;
    if (out.size() < n_known) put(page, ours);
    out.push_back(std::move(ours));
  }
  device_.synchronise();
  return out;
}

void PageCache::know(const PageRef& host, const PagePool::Page& device) {
  if (pool_.bytes() == 0) return;
  ++clock_;
  put(host, device);
}

}  // namespace lares::engine::cuda
