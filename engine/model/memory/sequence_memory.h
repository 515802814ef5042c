// What sequences hold beside the weights: pages, rings, frontiers and all else that grows with
// them, counted where it is taken and given back, so what several share counts once. And who gives
// some back when another needs it, those used longest ago first:
//   1. sequences, their snapshots;
//   2. sequences that wait, their rings;
//   3. sequences that nobody waits for, their cells: whoever goes on with one evaluates it again;
//   4. caches, one after the other, prefixes that nobody works with (engine/shrinker.h);
//   5. sequences that wait for longer, their cells;
//   6. sequences that rest between two turns, their cells.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/model/memory/page_arena.h"
#include "engine/shrinker.h"

namespace lares::engine {

// Who was used more recently and does not rest keeps its cells: it may be between two tokens
inline constexpr std::chrono::seconds kEvictIdle{60};

// One sequence that can give memory back. What it does is under `busy`, which whoever uses it
// holds.
class SequenceHolder {
 public:
  enum class Give {
    snapshots,  // all but the last: going back far evaluates more
    rings,      // what the frontier at its end can make again, in milliseconds; on a GPU: copies of
                // what that has too
    cells,      // everything but its tokens, which are evaluated again
  };
  virtual ~SequenceHolder() = default;
  virtual bool give_back(Give what) = 0;  // false: it has nothing of that kind
  virtual bool on_device() const { return false; }
  // What it has on a GPU leaves that, in the thread that evaluates and no other: to host memory,
  // which takes so many bytes more then (nothing: it is on none), or, without its cells, nowhere.
  virtual std::optional<std::uint64_t> bytes_to_leave() const { return std::nullopt; }
  virtual void leave(bool /*with_cells*/) {}
  // What it can do without in host memory as soon as it is back on a GPU: it is given up then, if
  // not before, so for so long what has left in its place is beyond the bound.
  virtual std::uint64_t bytes_on_return() const { return 0; }
  mutable std::mutex busy;
  // `busy` is held by the thread that evaluates, which asks others and may not try it again
  std::atomic<bool> in_company = false;
  std::atomic<Rest> resting = Rest::none;
};

class SequenceMemory {
 public:
  // bytes_max 0: what the machine has available.
  explicit SequenceMemory(std::uint64_t bytes_max = 0,
                          std::chrono::steady_clock::duration evict_idle = kEvictIdle)
      : bytes_max_(bytes_max), evict_idle_(evict_idle) {}

  // Before any page is made: where they come from. What it has free is free for sequences.
  void take_pages_from(std::shared_ptr<PageArena> arena) { arena_ = std::move(arena); }
  const std::shared_ptr<PageArena>& arena() const { return arena_; }  // null: the heap

  void ask(std::shared_ptr<Shrinker> shrinker);  // AsksShrinkers' (engine/shrinker.h)

  // Has the machine see what was freed, where that is what counts.
  void show_freed() const;

  // From any thread.
  void take(std::uint64_t bytes);
  void give(std::uint64_t bytes) { held_ -= bytes; }
  std::uint64_t held() const { return held_; }
  std::uint64_t bytes_max() const { return bytes_max_; }
  MemoryUse::Sequences report() const;
  bool fits(std::uint64_t more) const;

  // Makes room for `more` bytes. Others give theirs back, if they are not being used right now, and
  // caches, if there can be so much at all; `self`, which may be null and whose `busy` the caller
  // holds, its old snapshots alone.
  // no_memory, with the numbers: `what` takes more than there can be.
  Result<> make_room(std::uint64_t more, SequenceHolder* self, const std::string& what);

  // One that is on a GPU leaves it for `asker`, whose `busy` the caller holds and which may take
  // `promised` bytes of host memory: the one used longest ago of those that have room there; else
  // of those for which it can be made; else one is evicted.
  enum class Cleared {
    one,
    none,     // there is no other, or they are being used
    no_room,  // ... but such as have no room in host memory, and were used too recently to be
              // evicted
  };
  Cleared clear_device(SequenceHolder* asker, std::uint64_t promised = 0);
  void refused() { ++refused_; }  // one more, for want of room on a GPU

  // None of these waits for memory that others give back; remove() for what `holder` itself does,
  // which whoever has it do so is through with then.
  void add(SequenceHolder* holder);
  void remove(SequenceHolder* holder);
  void used(SequenceHolder* holder);  // its rest is over

 private:
  struct Entry {
    SequenceHolder* holder;
    std::chrono::steady_clock::time_point used;
  };
  struct Taken {
    SequenceHolder* holder = nullptr;  // null: there is no other
    std::chrono::steady_clock::time_point used;
    std::unique_lock<std::mutex> busy;  // with which it stays
  };
  // The one used longest ago of those not in `seen`, which it joins, that are not being used;
  // `self`, which may be null, without its lock.
  Taken take_next(std::set<const SequenceHolder*>& seen, SequenceHolder* self);
  void ask_all(std::uint64_t more, SequenceHolder* self);
  void shrink(std::uint64_t more);
  // Of those that are `asked`
  void pass(SequenceHolder::Give what, std::uint64_t more, SequenceHolder* self,
            const std::function<bool(const Taken&)>& asked = {});

  std::shared_ptr<PageArena> arena_;
  const std::uint64_t bytes_max_;
  const std::chrono::steady_clock::duration evict_idle_;
  std::atomic<std::uint64_t> held_{0}, most_{0};
  std::atomic<std::int64_t> n_{0}, parked_{0}, evicted_{0}, refused_{0};
  // Of who makes room, one at a time; taken after one's own `busy`, and others' are only tried
  // under it. To give back gigabytes takes long, so nobody else waits for it.
  std::mutex asking_;
  mutable std::mutex mutex_;                          // of what follows; only to look and choose
  std::list<Entry> holders_;                          // the one used longest ago first
  std::vector<std::shared_ptr<Shrinker>> shrinkers_;  // the first to be asked first
};
using SequenceMemoryRef = std::shared_ptr<SequenceMemory>;

// Bytes that are counted until this goes.
class Charge {
 public:
  Charge() = default;
  Charge(SequenceMemoryRef memory, std::uint64_t bytes) : memory_(std::move(memory)) { set(bytes); }
  Charge(Charge&& other) noexcept
      : memory_(std::move(other.memory_)), bytes_(std::exchange(other.bytes_, 0)) {}
  Charge& operator=(Charge&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Charge() { set(0); }
  std::uint64_t bytes() const { return bytes_; }
  void set(std::uint64_t bytes) {
    if (!memory_) return;
    if (bytes > bytes_)
      memory_->take(bytes - bytes_);
    else
      memory_->give(bytes_ - bytes);
    bytes_ = bytes;
  }

 private:
  SequenceMemoryRef memory_;
  std::uint64_t bytes_ = 0;
};

// A shared T that counts as `bytes` until its last owner goes.
template <class T>
std::shared_ptr<T> counted(T value, std::uint64_t bytes, const SequenceMemoryRef& memory) {
  struct Both {
    T value;
    Charge charge;
  };
  auto both = std::make_shared<Both>(std::move(value), Charge(memory, bytes));
  T* const at = &both->value;
  return {std::move(both), at};
}

}  // namespace lares::engine
