#include "daemon/completions/prefix_cache.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "daemon/completions/sampled.h"

namespace lares::daemon {

PrefixCache::Found PrefixCache::find(std::span<const engine::Token> prompt) {
  const std::lock_guard lock(mutex_);
  std::map<std::size_t, std::vector<std::list<Entry>::iterator>> by_length;
  for (auto it = prefixes_.begin(); it != prefixes_.end(); ++it)
    by_length[it->prefix->tokens().size()].push_back(it);
  Found found;
  auto longest = prefixes_.end();
  std::uint64_t hash = kHashOfNothing;
  std::size_t n_hashed = 0;
  for (const auto& [n, entries] : by_length) {
    if (n >= prompt.size()) break;  // what follows its last token is not part of a prefix
    hash = hash_of(prompt.subspan(n_hashed, n - n_hashed), hash);
    n_hashed = n;
    for (const auto it : entries) {
      if (it->hash == hash) longest = it;
    }
  }
  if (longest != prefixes_.end() &&
      std::ranges::equal(longest->prefix->tokens(),
                         prompt.first(longest->prefix->tokens().size()))) {
    prefixes_.splice(prefixes_.begin(), prefixes_, longest);
    found.prefix = longest->prefix;
  }
  std::size_t n_compared = 0;
  for (auto it = prefixes_.begin(); it != prefixes_.end() && n_compared < kComparedMax;
       ++it, ++n_compared) {
    const auto tokens = it->prefix->tokens();
    const auto common =
        std::mismatch(tokens.begin(), tokens.end(), prompt.begin(), prompt.end()).first -
        tokens.begin();
    found.n_common = std::max<std::int64_t>(found.n_common, common);
  }
  return found;
}

void PrefixCache::keep(engine::PrefixRef prefix) {
  if (!prefix || prefix->tokens().empty()) return;
  const auto tokens = prefix->tokens();
  const std::uint64_t hash = hash_of(tokens);
  const std::lock_guard lock(mutex_);
  const auto same = std::ranges::find_if(prefixes_, [&](const Entry& e) {
    return e.hash == hash && std::ranges::equal(e.prefix->tokens(), tokens);
  });
  if (same != prefixes_.end()) {
    prefixes_.splice(prefixes_.begin(), prefixes_, same);
    return;
  }
  count(*prefix, +1);
  prefixes_.push_front({std::move(prefix), hash});
  // The newest stays, however long: what follows it would else evaluate all of it again.
  while (prefixes_.size() > 1 && (bytes_ > bytes_max_ || prefixes_.size() > kPrefixesMax))
    give_up_last();
}

void PrefixCache::share(std::uint64_t sequences_bytes_max) {
  if (sequences_bytes_max == 0) return;
  const std::lock_guard lock(mutex_);
  bytes_max_ = std::min(bytes_max_, sequences_bytes_max / kPrefixMemoryShare);
}

bool PrefixCache::shrink() {
  const std::lock_guard lock(mutex_);
  if (prefixes_.empty()) return false;
  give_up_last();
  return true;
}

std::uint64_t PrefixCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::size_t PrefixCache::n_prefixes() const {
  const std::lock_guard lock(mutex_);
  return prefixes_.size();
}

void PrefixCache::give_up_last() {
  const engine::PrefixRef last = std::move(prefixes_.back().prefix);
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
