#include "engine/model/memory/page_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "engine/model/memory/buffer.h"

namespace lares::engine {
namespace {

constexpr std::size_t rounded(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

PageArena::PageArena(std::size_t page_bytes, std::unique_ptr<Pins> pins)
    : page_bytes_(page_bytes),
      place_bytes_(rounded(std::max<std::size_t>(1, page_bytes), kCacheLine)),
      places_(std::clamp<std::size_t>(kArenaBlockMax / place_bytes_, 1, kArenaBlockPages)),
      block_bytes_(rounded(places_ * place_bytes_, kHugePage)),
      pins_(std::move(pins)) {}

PageArena::~PageArena() {
  while (!blocks_.empty()) drop_block(blocks_.begin());
}

PageArena::Blocks::iterator PageArena::add_block() {
  auto* const begin = static_cast<std::uint8_t*>(std::aligned_alloc(kHugePage, block_bytes_));
  if (!begin) throw std::bad_alloc();
  ::madvise(begin, block_bytes_, MADV_HUGEPAGE);  // a wish
  Block block;
  block.pinned = pins_ && pins_->pin(begin, block_bytes_);
  for (std::size_t i = places_; i-- > 0;) block.free.push_back(begin + i * place_bytes_);
  n_free_ += places_;
  return blocks_.emplace(begin, std::move(block)).first;
}

void PageArena::drop_block(Blocks::iterator at) {
  if (at->second.pinned) pins_->unpin(at->first);
  n_free_ -= at->second.free.size();
  std::free(at->first);
  blocks_.erase(at);
}

// Out of the first block that has one, so that the last ones become empty.
void* PageArena::take() {
  const std::lock_guard lock(mutex_);
  auto at = n_free_ > 0 ? std::ranges::find_if(
                              blocks_, [](const auto& block) { return !block.second.free.empty(); })
                        : add_block();
  std::uint8_t* const page = at->second.free.back();
  at->second.free.pop_back();
  --n_free_;
  return page;
}

void PageArena::give(void* page) {
  const std::lock_guard lock(mutex_);
  const auto at = std::prev(blocks_.upper_bound(static_cast<std::uint8_t*>(page)));
  at->second.free.push_back(static_cast<std::uint8_t*>(page));
  ++n_free_;
  // One that is empty stays for who comes next, a second one goes.
  if (at->second.free.size() == places_ && n_free_ >= 2 * places_) drop_block(at);
}

std::uint64_t PageArena::bytes() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::uint64_t>(blocks_.size()) * block_bytes_;
}
std::uint64_t PageArena::free_bytes() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::uint64_t>(n_free_) * place_bytes_;
}

}  // namespace lares::engine
