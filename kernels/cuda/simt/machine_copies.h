// What goes on beside emulated threads (simt_host.h) until they wait for it: copies of a thread,
// copies that end on barriers in shared memory, products of tensor cores.
#pragma once

#include <cstring>
#include <utility>

#include "simt_host.h"

namespace lares::kernels::cuda::simt {

LARES_APART inline void Machine::publish() {
  LARES_INSIDE;
  races::publish(inside);
}
LARES_APART inline void Machine::copy_later(void* to, const void* from, int bytes) {
  LARES_INSIDE;
  std::memset(to, 0xFF, static_cast<std::size_t>(bytes));
  fiber().copies.push_back({to, from, bytes, 0, races::begin(inside)});
}
LARES_APART inline void Machine::finish_copies() {
  LARES_INSIDE;
  if (races::left_out(inside)) return;
  for (const Copy& c : fiber().copies) land(inside, c);
  fiber().copies.clear();
}
LARES_APART inline void Machine::commit_copies() {
  LARES_INSIDE;
  Fiber& f = fiber();
  ++f.copy_groups;
  for (Copy& c : f.copies)
    if (c.group == 0) c.group = f.copy_groups;
}
LARES_APART inline void Machine::finish_copy_groups(int left) {
  LARES_INSIDE;
  if (races::left_out(inside)) return;
  Fiber& f = fiber();
  std::size_t n = 0;
  while (n < f.copies.size() && f.copies[n].group != 0 && f.copies[n].group <= f.copy_groups - left)
    land(inside, f.copies[n++]);
  f.copies.erase(f.copies.begin(), f.copies.begin() + static_cast<std::ptrdiff_t>(n));
}
LARES_APART inline void Machine::make_phase(const void* b, int arrivals) {
  LARES_INSIDE;
  races::store(inside, b, 8);
  Phase& p = phases_[b] = {};
  p.arrivals = p.left = arrivals;
  p.engine = races::engine(cluster_number_, engines_++);
}
LARES_APART inline void Machine::wait_phase(const void* b, int parity) {
  LARES_INSIDE;
  races::use_barrier(inside, b, /*by_engine=*/false);
  Phase& p = phase(b);
  if (over(p), p.parity == (parity != 0)) {
    Fiber& f = fiber();
    f.phase = &p;
    f.parity = parity != 0;
    if (!_setjmp(f.at)) _longjmp(scheduler_, 1);
  }
  races::acquire(inside, phase(b).known[parity != 0]);
}
template <class Make>
LARES_APART void Machine::multiply_later(float* d, int n, const Make& make) {
  LARES_INSIDE;
  auto& later = fiber().later;
  later.push_back({d, n, 0, false, {}, make, races::begin(inside)});
  for (std::size_t i = 0; i + 1 < later.size(); ++i) later.back().chained |= later[i].d == d;
  if (!later.back().chained) take_sums(later.back());
}
LARES_APART inline void Machine::commit_products() {
  LARES_INSIDE;
  Fiber& f = fiber();
  ++f.groups;
  for (Later& l : f.later)
    if (l.group == 0) l.group = f.groups;
}
LARES_APART inline void Machine::finish_products(int left) {
  LARES_INSIDE;
  if (races::left_out(inside)) return;
  auto& later = fiber().later;
  const int last = fiber().groups - left;
  while (!later.empty() && later.front().group != 0 && later.front().group <= last) {
    const Later l = std::move(later.front());
    later.erase(later.begin());
    if (!l.chained) std::memcpy(l.d, l.sums.data(), l.sums.size() * sizeof(float));
    {
      const races::Running running(inside, l.begun);
      l.make();
    }
    for (Later& next : later)
      if (next.d == l.d) {
        next.chained = false;
        take_sums(next);
        break;
      }
  }
}
inline void Machine::arrive_at(const races::Inside& inside, const void* b, int bytes) {
  races::use_barrier(inside, b, /*by_engine=*/false);
  Phase& p = phase(b);
  if (p.left == 0) fail("arrives once too often at a barrier");
  races::release(inside, p.gathered);
  --p.left;
  p.expected += bytes;
  if (p.expected == 0) over(p);
}
inline void Machine::add_copy(const races::Inside& inside, const void* b, void* to,
                              const void* from, int bytes) {
  races::use_barrier(inside, b, /*by_engine=*/true);
  Phase& p = phase(b);
  std::memset(to, 0xFF, static_cast<std::size_t>(bytes));
  p.copies.push_back({to, from, bytes, 0, races::begin(inside)});
  p.copied += bytes;
}
inline void Machine::over(Phase& p) {
  if (p.left > 0 || p.copied != p.expected) return;
  for (const Copy& c : p.copies) land(p.engine, c);
  races::finish(p.engine, p.gathered);
  p.known[p.parity] = std::exchange(p.gathered, {});
  p.copies.clear();
  p.left = p.arrivals;
  p.expected = p.copied = 0;
  p.parity = !p.parity;
}
inline void Machine::take_sums(Later& l) {
  l.sums.assign(l.d, l.d + l.n);
  std::memset(static_cast<void*>(l.d), 0xFF, l.sums.size() * sizeof(float));
}

}  // namespace lares::kernels::cuda::simt
