#include "daemon/resident/beginnings.h"

#include <algorithm>
#include <iterator>

namespace lares::daemon {
namespace {

using engine::PrefixRef;
using engine::Token;

std::int64_t size_of(const PrefixRef& prefix) {
  return static_cast<std::int64_t>(prefix->tokens().size());
}

std::int64_t n_common(std::span<const Token> a, std::span<const Token> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

}  // namespace

std::int64_t next_mark_of(std::int64_t n_tokens, std::int64_t position) {
  if (position >= n_tokens) return SharedBeginning::kNowhere;
  const std::int64_t whole = n_tokens / kKeptStep * kKeptStep;
  const std::int64_t every = n_tokens <= kSmallBase ? kSmallMarkEvery : kMarkEvery;
  return std::min((position / every + 1) * every, position < whole ? whole : n_tokens);
}

bool Beginnings::Chain::add(const PrefixRef& prefix) {
  const auto at = std::ranges::lower_bound(prefixes, size_of(prefix), {}, size_of);
  if (at != prefixes.end() && size_of(*at) == size_of(prefix)) return false;
  prefixes.insert(at, prefix);
  return true;
}

const Beginnings::Chain* Beginnings::chain_of(const Base& base) const {
  const auto at = std::ranges::find(chains_, &base,
                                    [](const Chain& chain) { return chain.base.get(); });
  return at == chains_.end() ? nullptr : &*at;
}

Beginnings::Work::Work(std::shared_ptr<Beginnings> with) : with_(std::move(with)) {
  for (Beginnings* one = with_.get(); one; one = one->of_.get()) {
    const std::lock_guard lock(one->mutex_);
    ++one->n_working_;
  }
}

Beginnings::Work::~Work() {
  for (Beginnings* one = with_.get(); one; one = one->of_.get()) {
    const std::lock_guard lock(one->mutex_);
    --one->n_working_;
  }
}

bool Beginnings::give_up() {
  std::vector<Chain> chains;  // what is large goes without the lock
  const std::lock_guard lock(mutex_);
  const auto holds = [](const Chain& chain) { return !chain.prefixes.empty(); };
  if (n_working_ > 0 || std::ranges::none_of(chains_, holds)) return false;
  chains.swap(chains_);
  given_up_ = true;
  return true;
}

bool Beginnings::given_up() const {
  const std::lock_guard lock(mutex_);
  return given_up_;
}

void Beginnings::come() {
  const std::lock_guard lock(mutex_);
  given_up_ = false;
}

void Beginnings::keep(std::vector<std::shared_ptr<const Base>> bases) {
  const std::lock_guard lock(mutex_);
  given_up_ = false;
  std::vector<Chain> chains;
  for (auto& base : bases) {
    Chain chain{std::move(base), {}};
    for (const Chain& old : chains_) {
      const std::int64_t n = n_common(old.base->tokens, chain.base->tokens);
      for (const PrefixRef& prefix : old.prefixes)
        if (size_of(prefix) <= n) chain.add(prefix);
    }
    chains.push_back(std::move(chain));
  }
  chains_ = std::move(chains);
}

void Beginnings::restored(std::vector<PrefixRef> prefixes) {
  if (prefixes.empty()) return;
  const std::lock_guard lock(mutex_);
  for (Chain& chain : chains_) {
    // The others begin the last
    const std::int64_t n = n_common(prefixes.back()->tokens(), chain.base->tokens);
    for (const PrefixRef& prefix : prefixes)
      if (size_of(prefix) <= n) chain.add(prefix);
  }
}

bool Beginnings::wants(const Base& base) const {
  const std::lock_guard lock(mutex_);
  return chain_of(base) != nullptr;
}

std::int64_t Beginnings::evaluated(const Base& base) const {
  const std::lock_guard lock(mutex_);
  const Chain* const chain = chain_of(base);
  return std::max(chain ? chain->evaluated() : 0, of_ ? of_->evaluated(base) : 0);
}

std::vector<PrefixRef> Beginnings::of(const Base& base) const {
  const std::lock_guard lock(mutex_);
  const Chain* const chain = chain_of(base);
  return chain ? chain->prefixes : std::vector<PrefixRef>();
}

std::shared_ptr<const Base> Beginnings::unfinished() const {
  const std::lock_guard lock(mutex_);
  const auto at = std::ranges::find_if(chains_, [&](const Chain& chain) {
    return chain.evaluated() < static_cast<std::int64_t>(chain.base->tokens.size()) &&
           !(of_ && of_->wants(*chain.base));
  });
  return at == chains_.end() ? nullptr : at->base;
}

Beginnings::Use Beginnings::use() const {
  const std::lock_guard lock(mutex_);
  return use_;
}

void Beginnings::count(std::int64_t n_found, std::int64_t n_evaluated) {
  const std::lock_guard lock(mutex_);
  use_.n_found += n_found, use_.n_evaluated += n_evaluated;
}

std::uint64_t Beginnings::pages() const {
  const auto all = held(), theirs = of_ ? of_->held() : std::set<const std::uint8_t*>();
  return static_cast<std::uint64_t>(
      std::ranges::count_if(all, [&](const auto* page) { return !theirs.contains(page); }));
}

std::set<const std::uint8_t*> Beginnings::held() const {
  const std::lock_guard lock(mutex_);
  std::set<const std::uint8_t*> pages;
  // The longest of a base has all pages of the others but their last
  for (const Chain& chain : chains_) {
    if (chain.prefixes.empty()) continue;
    const engine::Prefix& longest = *chain.prefixes.back();
    for (std::int64_t i = 0; i < longest.n_pages(); ++i) pages.insert(longest.page(i).data());
  }
  return pages;
}

PrefixRef Beginnings::longest(std::span<const Token> ids) {
  const std::lock_guard lock(mutex_);
  PrefixRef best;
  for (const Chain& chain : chains_) {
    const auto end = std::ranges::upper_bound(chain.prefixes, n_common(ids, chain.base->tokens), {},
                                              size_of);
    if (end != chain.prefixes.begin() && (!best || size_of(*std::prev(end)) > size_of(best)))
      best = *std::prev(end);
  }
  if (PrefixRef theirs = of_ ? of_->longest(ids) : nullptr;
      theirs && (!best || size_of(theirs) > size_of(best))) {
    best = theirs;
    for (Chain& chain : chains_)  // theirs may be gone with their next base
      if (n_common(theirs->tokens(), chain.base->tokens) == size_of(theirs)) chain.add(theirs);
  }
  return best;
}

std::int64_t Beginnings::next_mark(std::span<const Token> ids, std::int64_t position) {
  const std::lock_guard lock(mutex_);
  std::int64_t next = of_ ? of_->next_mark(ids, position) : kNowhere;
  for (const Chain& chain : chains_) {
    const std::int64_t mark = next_mark_of(static_cast<std::int64_t>(chain.base->tokens.size()),
                                           position);
    if (mark < next && mark <= static_cast<std::int64_t>(ids.size()) &&
        n_common(ids.first(static_cast<std::size_t>(mark)), chain.base->tokens) == mark)
      next = mark;
  }
  return next;
}

void Beginnings::offer(PrefixRef prefix) {
  if (!prefix) return;
  std::shared_ptr<const Base> begins;
  {
    const std::lock_guard lock(mutex_);
    for (Chain& chain : chains_)
      if (n_common(prefix->tokens(), chain.base->tokens) == size_of(prefix) && chain.add(prefix) &&
          !begins)
        begins = chain.base;
  }
  if (begins && offered_) offered_(prefix, begins);
  if (of_) of_->offer(std::move(prefix));
}

}  // namespace lares::daemon
