#include "kernels/cuda/simt/races.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "kernels/cuda/simt/races_memory.h"

namespace lares::kernels::cuda::simt::races {

Thread* current = nullptr;
const Begun* products = nullptr;

Inside::Inside(const void* at)
    : own_(std::exchange(current, nullptr)),
      products_(std::exchange(products, nullptr)),
      at_(reinterpret_cast<std::uintptr_t>(at)) {}
Inside::~Inside() { current = own_, products = products_; }
Running::Running(Thread& thread) { current = &thread; }
Running::Running(const Inside& inside, const Begun& begun) {
  current = &inside.own();
  products = &begun;
}
Running::~Running() { current = nullptr, products = nullptr; }

Ref::Ref(const Ref& other) : clock_(other.clock_) {
  if (clock_) ++clock_->refs;
}
Ref::~Ref() {
  if (clock_ && --clock_->refs == 0) delete clock_;
}

namespace {

std::vector<Cluster> clusters;

const Cluster& cluster_of(std::uint32_t number) { return clusters[number]; }

// Takes into `to`, which nobody else has, what `from` knows, of another cluster too.
void join_times(std::vector<std::uint32_t>& to, const std::vector<std::uint32_t>& from) {
  if (to.size() < from.size()) to.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}
void join_other(Clock& to, const Clock& from) {
  const auto [at, added] = to.others.try_emplace(from.cluster, from.times);
  if (!added) join_times(at->second, from.times);
}
void join(Clock& to, const Clock& from) {
  if (&to == &from) return;
  to.over = std::max(to.over, from.over);
  if (to.cluster == from.cluster)
    join_times(to.times, from.times);
  else
    join_other(to, from);
  for (const auto& [cluster, times] : from.others) {
    if (cluster == to.cluster) {
      join_times(to.times, times);
      continue;
    }
    const auto [at, added] = to.others.try_emplace(cluster, times);
    if (!added) join_times(at->second, times);
  }
}
Ref new_clock(std::uint32_t cluster) {
  auto* const clock = new Clock;
  clock->cluster = cluster;
  return Ref(clock);
}
Ref copy_of(const Clock& clock) {
  Clock* const copy = new Clock(clock);
  copy->refs = 1;
  return Ref(copy);
}
// A clock that may be changed.
Clock& own(Ref& ref) {
  if (ref->refs > 1) ref = copy_of(*ref.get());
  return *ref.get();
}
void add_to(Ref& to, const Ref& from) {
  if (!from || to.get() == from.get()) return;
  if (!to)
    to = from;
  else
    join(own(to), *from.get());
}
void set_time(Clock& clock, std::uint32_t cluster, std::uint32_t local, std::uint32_t time) {
  auto& times = clock.cluster == cluster ? clock.times : clock.others[cluster];
  if (times.size() <= local) times.resize(local + 1);
  times[local] = std::max(times[local], time);
}

// What many do one after the other: a warp's lanes acquire the same from the same.
struct Joined {
  Ref a, b, both;
} last_joined;
Ref joined(const Ref& a, const Ref& b) {
  if (!b || a.get() == b.get()) return a;
  if (!a) return b;
  if (last_joined.a.get() == a.get() && last_joined.b.get() == b.get()) return last_joined.both;
  Ref both = copy_of(*a.get());
  join(*both.get(), *b.get());
  last_joined = {a, b, both};
  return both;
}

std::map<const void*, Known> atomics;

}  // namespace

bool before(Epoch e, const Seen& by) {
  const std::uint32_t cluster = cluster_in(e), local = local_in(e), time = time_in(e);
  if (cluster == by.cluster) {
    if (local == by.local) return time <= by.time;
    return by.clock && local < by.clock->times.size() && by.clock->times[local] >= time;
  }
  const Cluster &that = cluster_of(cluster), &own = cluster_of(by.cluster);
  if (that.place.stream != own.place.stream || that.place.number < by.over) return true;
  if (!by.clock) return false;
  if (that.place.number < by.clock->over) return true;
  const auto at = by.clock->others.find(cluster);
  return at != by.clock->others.end() && local < at->second.size() && at->second[local] >= time;
}
bool by_engine(Epoch e) { return local_in(e) >= cluster_of(cluster_in(e)).n_threads; }
std::uint32_t launches_between(Epoch e, std::uint32_t cluster) {
  const Place &that = cluster_of(cluster_in(e)).place, &own = cluster_of(cluster).place;
  return that.stream == own.stream ? own.number - that.number : 0;
}
bool waited(const Thread& thread) { return thread.over == cluster_of(thread.cluster).place.number; }

Place alone() {
  static std::uint32_t streams = 0;
  return {++streams, 0, 0};
}
Place next(Place& last) {
  const Place own = last;
  last.begins_after = last.number++;
  return own;
}
void settle(Place& last) { last.begins_after = last.number; }

std::uint32_t begin_cluster(const Place& place, int n_threads) {
  last_joined = {};
  if (clusters.size() >> kClusterBits) beyond("clusters of blocks");
  clusters.push_back({place, static_cast<std::uint32_t>(n_threads)});
  return static_cast<std::uint32_t>(clusters.size() - 1);
}
void begin(Thread& thread, std::uint32_t cluster, int local, const Place& place, Memory stack,
           Memory words, Memory shared) {
  thread = {};
  thread.cluster = cluster;
  thread.local = static_cast<std::uint32_t>(local);
  thread.over = place.begins_after;
  thread.stack = stack;
  thread.words = words;
  thread.shared = shared;
  thread.seen = new_clock(cluster);
}
void waited(const Inside& inside, const Place& place) {
  if (!left_out(inside)) inside.own().over = place.number;
}

void Meeting::arrive(const Inside& inside, bool waits) {
  if (left_out(inside)) return;
  Thread& t = inside.own();
  if (waits)
    parts_.push_back({&t, {}, {}, t.time, t.over, true});
  else
    parts_.push_back({&t, t.seen, t.published, t.time++, t.over, false});
}
void Meeting::open() {
  if (parts_.empty()) return;
  // One clock for all who wait: the one they have in common already, or another one.
  const auto seen_of = [](const Part& p) -> const Ref& {
    return p.waits ? p.thread->seen : p.seen;
  };
  const auto published_of = [](const Part& p) -> const Ref& {
    return p.waits ? p.thread->published : p.published;
  };
  const Clock* common = seen_of(parts_.front()).get();
  bool one = true;
  for (const Part& p : parts_) one &= p.waits && p.thread->seen.get() == common;
  Ref all;
  if (one && common->refs == static_cast<int>(parts_.size())) {
    all = parts_.front().thread->seen;
  } else {
    all = copy_of(*common);
    const Clock* last = common;
    for (const Part& p : parts_)
      if (const Clock* const seen = seen_of(p).get(); seen != last) {
        join(*all.get(), *seen);
        last = seen;
      }
  }
  std::uint32_t time = 0;
  const std::uint32_t cluster = parts_.front().thread->cluster;
  Ref published = published_of(parts_.front());
  const Clock* last = published.get();
  for (const Part& p : parts_) {
    set_time(*all.get(), cluster, p.thread->local, p.time);
    all->over = std::max(all->over, p.over);
    if (p.waits) time = std::max(time, p.time);
    if (const Ref& own = published_of(p); own.get() != last) {
      add_to(published, own);
      last = own.get();
    }
  }
  for (const Part& p : parts_)
    if (p.waits) {
      p.thread->seen = all;
      p.thread->published = published;
      p.thread->time = time + 1;
      p.thread->over = std::max(p.thread->over, all->over);
    }
  parts_.clear();
}

void release(const Inside& inside, Known& into) {
  if (left_out(inside)) return;
  Thread& t = inside.own();
  if (into.seen)
    add_to(into.seen, t.seen);
  else
    into.seen = t.seen;
  set_time(own(into.seen), t.cluster, t.local, t.time++);
  add_to(into.published, t.published);
  into.over = std::max(into.over, t.over);
}
void acquire(const Inside& inside, const Known& from) {
  if (left_out(inside)) return;
  Thread& t = inside.own();
  t.seen = joined(t.seen, from.seen);
  if (from.published) {
    Ref published = t.published;
    add_to(published, from.published);
    t.published = std::move(published);
  }
  t.over = std::max(t.over, from.over);
}
void publish(const Inside& inside) {
  if (left_out(inside)) return;
  Thread& t = inside.own();
  Ref published = copy_of(*t.seen.get());
  add_to(published, t.published);
  set_time(own(published), t.cluster, t.local, t.time++);
  t.published = std::move(published);
}
Begun begin(const Inside& inside) {
  Thread& t = inside.own();
  return {t.seen, t.published, t.cluster, t.local, t.time++, t.over, inside.at()};
}

Engine engine(std::uint32_t cluster, int number) {
  const std::uint32_t local = cluster_of(cluster).n_threads + static_cast<std::uint32_t>(number);
  if (local >> kLocalBits) beyond("threads and barriers of a cluster");
  return {cluster, local};
}
void finish(Engine& engine, Known& into) {
  if (!into.seen) into.seen = new_clock(engine.cluster);
  set_time(own(into.seen), engine.cluster, engine.local, engine.time++);
}

namespace {

constexpr std::uint32_t kNow = 0xFFFFFFFFu;

Seen seen_by(const Thread& t) { return {t.seen.get(), t.cluster, t.local, kNow, t.over}; }
Seen published_by(const Thread& t) { return {t.published.get(), t.cluster, t.local, 0, t.over}; }
Access access_of(const Thread& t, std::uintptr_t at) {
  return {.seen = seen_by(t), .published = published_by(t), .epoch = epoch_of(t), .at = at};
}
Seen seen_by(const Begun& b) { return {b.seen.get(), b.cluster, b.local, b.time, b.over}; }
Seen published_by(const Begun& b) {
  // Its own stores only where the fence came after them.
  const auto& times = b.published ? b.published->times : std::vector<std::uint32_t>{};
  return {b.published.get(), b.cluster, b.local, b.local < times.size() ? times[b.local] : 0,
          b.over};
}
Access access_of(const Begun& b, Epoch epoch) {
  return {.seen = seen_by(b), .published = published_by(b), .epoch = epoch, .at = b.at};
}

}  // namespace

void touch(Thread& t, const void* at, std::size_t bytes, bool writes, std::uintptr_t from) {
  if (t.stack.has(at) || t.words.has(at) || (products && !t.shared.has(at))) return;
  Access a = products ? access_of(*products, epoch_of(t)) : access_of(t, from);
  a.writes = writes;
  a.engine = products;
  a.early = !products && !waited(t);
  access(reinterpret_cast<std::uintptr_t>(at), bytes, a);
}

void atomic(const Inside& inside, const void* at, std::size_t bytes) {
  Access a = access_of(inside.own(), inside.at());
  a.atomic = true;
  access(reinterpret_cast<std::uintptr_t>(at), bytes, a);
}
void acquire_release(const Inside& inside, const void* at) {
  Known& known = atomics[at];
  acquire(inside, known);
  release(inside, known);
}
void use_barrier(const Inside& inside, const void* at, bool by_engine) {
  Thread& t = inside.own();
  Access a = access_of(t, inside.at());
  if (by_engine) {
    const Begun now = begin(inside);
    a.published = published_by(now);
  }
  a.engine = by_engine;
  a.atomic = true;
  access(reinterpret_cast<std::uintptr_t>(at), 8, a);
}
void store(const Inside& inside, const void* at, std::size_t bytes) {
  Access a = access_of(inside.own(), inside.at());
  a.writes = true;
  access(reinterpret_cast<std::uintptr_t>(at), bytes, a);
}
void landed(const Inside& inside, const Begun& begun, const void* to, const void* from,
            std::size_t bytes) {
  Access a = access_of(begun, epoch_of(inside.own()));
  if (from) access(reinterpret_cast<std::uintptr_t>(from), bytes, a);
  a.writes = true;
  access(reinterpret_cast<std::uintptr_t>(to), bytes, a);
}
void landed(const Engine& engine, const Begun& begun, const void* to, const void* from,
            std::size_t bytes) {
  Access a = access_of(begun, epoch(engine.cluster, engine.local, engine.time));
  a.engine = true;
  access(reinterpret_cast<std::uintptr_t>(from), bytes, a);
  a.writes = true;
  access(reinterpret_cast<std::uintptr_t>(to), bytes, a);
}

void forget() {
  atomics.clear();
  last_joined = {};
  forget_memory();
}

}  // namespace lares::kernels::cuda::simt::races
