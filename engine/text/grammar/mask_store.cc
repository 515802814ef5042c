#include "engine/text/grammar/mask_store.h"

#include <algorithm>
#include <utility>

namespace lares::engine {
namespace {

template <class Kept, class Is>
std::shared_ptr<Kept> known(std::list<std::shared_ptr<Kept>>& all, const Is& is) {
  const auto found = std::ranges::find_if(all, is);
  if (found == all.end()) return nullptr;
  all.splice(all.begin(), all, found);
  return all.front();
}

template <class Kept>
void keep(std::list<std::shared_ptr<Kept>>& all, std::shared_ptr<Kept> newest, std::size_t n_max) {
  all.push_front(std::move(newest));
  std::size_t n_bytes = 0, n = 0;
  for (const auto& one : all) {
    n_bytes += n > 0 ? one->bytes() : 0;
    if (n == n_max || n_bytes > kMaskStoreBytesMax) break;
    ++n;
  }
  all.resize(n);
}

}  // namespace

std::shared_ptr<const StretchIndex> MaskStore::stretch_index(std::string text,
                                                             StretchIndex::Of of) {
  const std::lock_guard lock(mutex_);
  if (auto index = known(indexes_,
                         [&](const auto& one) { return one->of() == of && one->text() == text; }))
    return index;
  auto index = std::make_shared<StretchIndex>(std::move(text), of);
  if (worker_.post(
          [this, index](std::stop_token stop) { index->build(vocabulary_, std::move(stop)); }))
    keep(indexes_, index, kStretchIndexesMax);
  return index;
}

std::shared_ptr<const PatternMasks> MaskStore::pattern_masks(
    const std::shared_ptr<const Pattern>& pattern, TextKind kind) {
  const std::lock_guard lock(mutex_);
  if (auto masks = known(patterns_, [&](const auto& one) {
        return one->kind() == kind && one->pattern() == *pattern;
      }))
    return masks;
  auto masks = std::make_shared<PatternMasks>(pattern, kind);
  if (worker_.post([this, masks](const std::stop_token& stop) { masks->build(vocabulary_, stop); }))
    keep(patterns_, masks, kPatternsKeptMax);
  return masks;
}

}  // namespace lares::engine
