#include "daemon/resident/beginnings.h"

#include <algorithm>
#include <iterator>
#include <set>

namespace lares::daemon {
namespace {

bool begins_with(std::span<const engine::Token> ids, std::span<const engine::Token> beginning) {
  return beginning.size() <= ids.size() && std::equal(beginning.begin(), beginning.end(), ids.begin());
}

}  // namespace

std::int64_t next_mark_of(std::int64_t n_tokens, std::int64_t position) {
  if (position >= n_tokens) return SharedBeginning::kNowhere;
  const std::int64_t whole = n_tokens / kKeptStep * kKeptStep;
  const std::int64_t every = n_tokens <= kSmallBase ? kSmallMarkEvery : kMarkEvery;
  return std::min((position / every + 1) * every, position < whole ? whole : n_tokens);
}

void Beginnings::keep(std::vector<std::shared_ptr<const Base>> bases) {
  const std::lock_guard lock(mutex_);
  bases_ = std::move(bases);
  std::erase_if(prefixes_, [&](const engine::PrefixRef& p) {
    return std::none_of(bases_.begin(), bases_.end(), [&](const auto& base) { return begins_with(base->tokens, p->tokens()); });
  });
}

void Beginnings::restored(std::vector<engine::PrefixRef> prefixes) {
  const std::lock_guard lock(mutex_);
  prefixes_.insert(prefixes_.end(), std::make_move_iterator(prefixes.begin()), std::make_move_iterator(prefixes.end()));
}

std::int64_t Beginnings::evaluated(const Base& base) const {
  const std::lock_guard lock(mutex_);
  std::int64_t most = 0;
  for (const auto& p : prefixes_)
    if (begins_with(base.tokens, p->tokens())) most = std::max(most, static_cast<std::int64_t>(p->tokens().size()));
  return most;
}

std::vector<engine::PrefixRef> Beginnings::of(const Base& base) const {
  const std::lock_guard lock(mutex_);
  std::vector<engine::PrefixRef> out;
  for (const auto& p : prefixes_)
    if (begins_with(base.tokens, p->tokens())) out.push_back(p);
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a->tokens().size() < b->tokens().size(); });
  return out;
}

std::shared_ptr<const Base> Beginnings::unfinished() const {
  std::vector<std::shared_ptr<const Base>> bases;
  {
    const std::lock_guard lock(mutex_);
    bases = bases_;
  }
  for (const auto& base : bases)
    if (evaluated(*base) < static_cast<std::int64_t>(base->tokens.size())) return base;
  return nullptr;
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
  const std::lock_guard lock(mutex_);
  std::set<const std::uint8_t*> pages;
  for (const auto& base : bases_) {  // the longest of a base has all pages of the others but their last
    const engine::Prefix* longest = nullptr;
    for (const auto& p : prefixes_)
      if ((!longest || p->tokens().size() > longest->tokens().size()) && begins_with(base->tokens, p->tokens())) longest = p.get();
    for (std::int64_t i = 0; longest && i < longest->n_pages(); ++i) pages.insert(longest->page(i).data());
  }
  return pages.size();
}

engine::PrefixRef Beginnings::longest(std::span<const engine::Token> ids) {
  const std::lock_guard lock(mutex_);
  engine::PrefixRef best;
  for (const auto& p : prefixes_)
    if ((!best || p->tokens().size() > best->tokens().size()) && begins_with(ids, p->tokens())) best = p;
  return best;
}

std::int64_t Beginnings::next_mark(std::span<const engine::Token> ids, std::int64_t position) {
  const std::lock_guard lock(mutex_);
  std::int64_t next = kNowhere;
  for (const auto& base : bases_) {
    const std::int64_t mark = next_mark_of(static_cast<std::int64_t>(base->tokens.size()), position);
    if (mark < next && mark <= static_cast<std::int64_t>(ids.size()) && begins_with(ids, std::span(base->tokens).first(static_cast<std::size_t>(mark)))) next = mark;
  }
  return next;
}

void Beginnings::offer(engine::PrefixRef prefix) {
  if (!prefix) return;
  std::shared_ptr<const Base> begins;
  {
    const std::lock_guard lock(mutex_);
    const auto same = [&](const engine::PrefixRef& p) { return p->tokens().size() == prefix->tokens().size() && begins_with(p->tokens(), prefix->tokens()); };
    const auto base = std::find_if(bases_.begin(), bases_.end(), [&](const auto& b) { return begins_with(b->tokens, prefix->tokens()); });
    if (base == bases_.end() || std::any_of(prefixes_.begin(), prefixes_.end(), same)) return;
    prefixes_.push_back(prefix);
    begins = *base;
  }
  if (offered_) offered_(prefix, begins);
}

}  // namespace lares::daemon
