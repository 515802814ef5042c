#include "engine/model/memory/sequence_memory.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>

#include "engine/model/memory/available_memory.h"
#include "engine/model/memory/size_text.h"

namespace lares::engine {

void SequenceMemory::take(std::uint64_t bytes) {
  const std::uint64_t now = held_ += bytes;
  for (std::uint64_t most = most_; most < now && !most_.compare_exchange_weak(most, now);) {
  }
}

bool SequenceMemory::fits(std::uint64_t more) const {
  if (bytes_max_ > 0) return held_ + more <= bytes_max_;
  const std::uint64_t free = arena_ ? arena_->free_bytes() : 0;
  return more <= free || more - free <= available_bytes();
}

void SequenceMemory::show_freed() const {
  if (bytes_max_ == 0) ::malloc_trim(0);
}

void SequenceMemory::add(SequenceHolder* holder) {
  const std::lock_guard lock(mutex_);
  holders_.push_back({holder, std::chrono::steady_clock::now()});
  ++n_;
}

void SequenceMemory::remove(SequenceHolder* holder) {
  {
    const std::lock_guard lock(mutex_);
    n_ -= static_cast<std::int64_t>(
        holders_.remove_if([&](const Entry& e) { return e.holder == holder; }));
  }
  const std::lock_guard through(holder->busy);
}

void SequenceMemory::used(SequenceHolder* holder) {
  holder->resting = Rest::none;
  const std::lock_guard lock(mutex_);
  const auto at = std::find_if(holders_.begin(), holders_.end(),
                               [&](const Entry& e) { return e.holder == holder; });
  if (at == holders_.end()) return;
  at->used = std::chrono::steady_clock::now();
  holders_.splice(holders_.end(), holders_, at);
}

SequenceMemory::Taken SequenceMemory::take_next(std::set<const SequenceHolder*>& seen,
                                                SequenceHolder* self) {
  const std::lock_guard lock(mutex_);
  for (const Entry& e : holders_) {
    if (!seen.insert(e.holder).second) continue;
    if (e.holder == self) return {.holder = self, .used = e.used, .busy = {}};
    if (e.holder->in_company) continue;
    if (std::unique_lock busy(e.holder->busy, std::try_to_lock); busy)
      return {.holder = e.holder, .used = e.used, .busy = std::move(busy)};
  }
  return {};
}

void SequenceMemory::pass(SequenceHolder::Give what, std::uint64_t more, SequenceHolder* self,
                          const std::function<bool(const Taken&)>& asked) {
  using Give = SequenceHolder::Give;
  std::set<const SequenceHolder*> seen;
  while (!fits(more)) {
    const Taken one = take_next(seen, self);
    if (!one.holder) return;
    if (one.holder == self && what != Give::snapshots) continue;
    if (asked && !asked(one)) continue;
    if (!one.holder->give_back(what)) continue;
    if (what == Give::rings && !one.holder->on_device()) ++parked_;  // of a GPU's it is copies
    if (what == Give::cells) ++evicted_;
    show_freed();
  }
}

void SequenceMemory::ask(std::shared_ptr<Shrinker> shrinker) {
  const std::lock_guard lock(mutex_);
  std::erase_if(shrinkers_, [&](const auto& s) { return s->gone() || s->of() == shrinker->of(); });
  const auto behind = std::upper_bound(shrinkers_.begin(), shrinkers_.end(), shrinker->rank(),
                                       [](int rank, const auto& s) { return rank < s->rank(); });
  shrinkers_.insert(behind, std::move(shrinker));
}

void SequenceMemory::shrink(std::uint64_t more) {
  std::vector<std::shared_ptr<Shrinker>> all;
  {
    const std::lock_guard lock(mutex_);
    all = shrinkers_;
  }
  for (const auto& shrinker : all)
    while (!fits(more) && shrinker->shrink()) show_freed();
}

void SequenceMemory::ask_all(std::uint64_t more, SequenceHolder* self) {
  using Give = SequenceHolder::Give;
  pass(Give::snapshots, more, self);
  pass(Give::rings, more, self);
  // Not for what there will never be room for
  const bool possible = bytes_max_ == 0 || more <= bytes_max_;
  const auto resting = [possible](Rest how) {
    return [=](const Taken& one) { return possible && one.holder->resting == how; };
  };
  pass(Give::cells, more, self, resting(Rest::spare));
  if (possible) shrink(more);
  const auto now = std::chrono::steady_clock::now();
  pass(Give::cells, more, self, [&](const Taken& one) { return now - one.used >= evict_idle_; });
  pass(Give::cells, more, self, resting(Rest::turns));
}

Result<> SequenceMemory::make_room(std::uint64_t more, SequenceHolder* self,
                                   const std::string& what) {
  if (fits(more)) return {};
  const std::lock_guard lock(asking_);
  ask_all(more, self);
  if (bytes_max_ > 0)
    ::malloc_trim(0);  // what was given back is for the weights' pages, if not for this
  if (fits(more)) return {};
  ++refused_;
  if (bytes_max_ == 0)
    return tl::unexpected(Error{
        Errc::no_memory,
        fmt::format(
            "{}: its caches take {} more and {} are available; free some, or shorten the prompt",
            what, size_text(more), size_text(available_bytes()))});
  return tl::unexpected(Error{
      Errc::no_memory,
      fmt::format("{}: it takes {} more, and of the {} that sequences may take {} "
                  "are held by {} of them and what they "
                  "share; end some, raise the memory limit, or shorten the prompt",
                  what, size_text(more), size_text(bytes_max_), size_text(held_), n_.load())});
}

SequenceMemory::Cleared SequenceMemory::clear_device(SequenceHolder* asker,
                                                     std::uint64_t promised) {
  using Give = SequenceHolder::Give;
  // Nobody asks it, whose lock is this thread's.
  struct Hidden {
    explicit Hidden(SequenceHolder* of) : holder(of), was(of->in_company.exchange(true)) {}
    ~Hidden() { holder->in_company = was; }
    SequenceHolder* const holder;
    const bool was;
  } const hidden(asker);
  const std::uint64_t swapped = bytes_max_ > 0 ? asker->bytes_on_return() : 0;
  enum class Way { as_it_is, making_room, spare, idle, turns };  // the last three: without cells
  auto out = Cleared::none;
  Taken leaves;
  bool with_cells = true;
  {
    const std::lock_guard lock(asking_);
    const auto now = std::chrono::steady_clock::now();
    const auto evicts = [&](Way way, const Taken& one) {
      const Rest resting = one.holder->resting;
      return way == Way::spare  ? resting == Rest::spare
             : way == Way::idle ? now - one.used >= evict_idle_
                                : resting == Rest::turns;
    };
    for (const Way way : {Way::as_it_is, Way::making_room, Way::spare, Way::idle, Way::turns}) {
      std::set<const SequenceHolder*> seen;
      while (!leaves.holder) {
        Taken one = take_next(seen, nullptr);
        if (!one.holder) break;
        auto bytes = one.holder->bytes_to_leave();
        if (!bytes) continue;
        const auto more = [&] {
          const std::uint64_t wanted = *bytes + promised;
          return wanted - std::min(wanted, swapped);
        };
        if (way == Way::making_room && (bytes_max_ == 0 || more() <= bytes_max_)) {
          ask_all(more(), one.holder);
          for (const Give give : {Give::snapshots, Give::rings})
            if (!fits(more()) && asker->give_back(give)) show_freed();
          bytes = one.holder->bytes_to_leave();  // copies that it would have shared may be gone
        }
        with_cells = way == Way::as_it_is || way == Way::making_room;
        if (with_cells ? *bytes == 0 || fits(more()) : evicts(way, one))
          leaves = std::move(one);
        else
          out = Cleared::no_room;
      }
      if (leaves.holder) break;
    }
  }
  if (!leaves.holder) return out;
  leaves.holder->leave(with_cells);  // its lock is held, and nobody waits for others meanwhile
  ++(with_cells ? parked_ : evicted_);
  return Cleared::one;
}

MemoryUse::Sequences SequenceMemory::report() const {
  return {.bytes = held_,
          .bytes_max = bytes_max_,
          .most = most_,
          .n = n_,
          .parked = parked_,
          .evicted = evicted_,
          .refused = refused_};
}

}  // namespace lares::engine
