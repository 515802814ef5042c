#include "daemon/completions/prefix_cache.h"

#include <algorithm>
#include <utility>

namespace lares::daemon {

PrefixCache::Found PrefixCache::find(std::span<const engine::Token> prompt) {
  Found found;
  auto longest = prefixes_.end();
  for (auto it = prefixes_.begin(); it != prefixes_.end(); ++it) {
    const auto tokens = (*it)->tokens();
    const auto common = std::mismatch(tokens.begin(), tokens.end(), prompt.begin(), prompt.end()).first - tokens.begin();
    found.n_common = std::max<std::int64_t>(found.n_common, common);
    const auto n = static_cast<std::ptrdiff_t>(tokens.size());
    if (common < n || tokens.size() >= prompt.size()) continue;  // what follows the last token is not part of a prefix
    if (longest == prefixes_.end() || tokens.size() > (*longest)->tokens().size()) longest = it;
  }
  if (longest == prefixes_.end()) return found;
  prefixes_.splice(prefixes_.begin(), prefixes_, longest);
  found.prefix = prefixes_.front();
  return found;
}

void PrefixCache::keep(engine::PrefixRef prefix) {
  if (!prefix || prefix->tokens().empty()) return;
  const auto tokens = prefix->tokens();
  const auto same = std::ranges::find_if(prefixes_, [&](const engine::PrefixRef& p) { return std::ranges::equal(p->tokens(), tokens); });
  if (same != prefixes_.end()) {
    prefixes_.splice(prefixes_.begin(), prefixes_, same);
    return;
  }
  count(*prefix, +1);
  prefixes_.push_front(std::move(prefix));
  while (!prefixes_.empty() && (bytes_ > bytes_max_ || prefixes_.size() > kPrefixesMax)) give_up_last();
}

void PrefixCache::give_up_last() {
  const engine::PrefixRef last = std::move(prefixes_.back());
  prefixes_.pop_back();
  count(*last, -1);
}

void PrefixCache::count(const engine::Prefix& prefix, int change) {
  const auto add = [&](std::size_t bytes) { bytes_ += change > 0 ? bytes : -bytes; };
  add(prefix.frontier().size() + prefix.tokens().size_bytes());
  for (std::int64_t i = 0; i < prefix.n_pages(); ++i) {
    const auto page = prefix.page(i);
    int& n = pages_[page.data()];
    if (n == 0 || n + change == 0) add(page.size());
    n += change;
    if (n == 0) pages_.erase(page.data());
  }
}

}  // namespace lares::daemon
