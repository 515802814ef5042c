#include "kernels/cuda/simt/races_memory.h"

#include <algorithm>
#include <deque>
#include <tuple>
#include <unordered_map>

namespace lares::kernels::cuda::simt::races {

Looked looked;
void launched() { ++looked.launches; }

namespace {

// Reads, and atomics, that no write has followed: nothing, one, or a number of a set.
using Reads = std::uint64_t;
constexpr Reads kSet = Reads{1} << 63;

struct Cell {
  Epoch write = 0;
  Reads reads = 0;
  std::uint32_t write_at = 0, read_at = 0;  // in the code, from where it begins
};
// Of a warp's lanes at one time.
struct Entry {
  std::uint32_t cluster, warp, time, lanes, at;
  bool atomic;
};
constexpr std::size_t kTidyFrom = 64;
struct Set {
  std::size_t cells = 0;          // bytes that have it
  std::size_t limit = kTidyFrom;  // entries from which on it is tidied: twice what was left
  std::vector<Entry> entries;
};

constexpr std::size_t kPage = 4096;
struct Page {
  Cell cells[kPage];
};
std::unordered_map<std::uintptr_t, std::unique_ptr<Page>> pages;
std::uintptr_t last_number = ~std::uintptr_t{0};
Page* last_page = nullptr;

std::deque<Set> sets;
std::vector<std::uint32_t> free_sets;

Set& set_of(Reads reads) { return sets[static_cast<std::size_t>(reads & ~kSet)]; }
Reads new_set() {
  if (free_sets.empty()) {
    sets.emplace_back();
    return kSet | (sets.size() - 1);
  }
  const std::uint32_t i = free_sets.back();
  free_sets.pop_back();
  return kSet | i;
}
void drop(Reads reads, std::size_t n) {
  if (!(reads & kSet)) return;
  Set& set = set_of(reads);
  set.cells -= n;
  if (set.cells > 0) return;
  set.entries.clear();
  set.limit = kTidyFrom;
  free_sets.push_back(static_cast<std::uint32_t>(reads & ~kSet));
}

// Code lies within 4 GB of this.
extern "C" char __executable_start;
std::uint32_t short_of(std::uintptr_t at) {
  return static_cast<std::uint32_t>(at - reinterpret_cast<std::uintptr_t>(&__executable_start));
}
std::uintptr_t long_of(std::uint32_t at) {
  return at + reinterpret_cast<std::uintptr_t>(&__executable_start);
}

Page& page_of(std::uintptr_t address) {
  const std::uintptr_t number = address / kPage;
  if (number != last_number) {
    auto& page = pages[number];
    if (!page) page = std::make_unique<Page>();
    last_number = number;
    last_page = page.get();
  }
  return *last_page;
}

// Whether all of an entry's lanes have come before.
bool all_before(const Entry& e, const Seen& by) {
  for (std::uint32_t lanes = e.lanes; lanes; lanes &= lanes - 1) {
    const auto local = e.warp * 32 + static_cast<std::uint32_t>(__builtin_ctz(lanes));
    if (!before(epoch(e.cluster, local, e.time), by)) return false;
  }
  return true;
}

void check_write(const Cell& cell, const Access& a) {
  if (!cell.write) return;
  if (!before(cell.write, a.seen)) {
    report(a.atomic   ? "an atomic and a write"
           : a.writes ? "two writes"
                      : "a read and a write",
           a.at, long_of(cell.write_at));
  } else if (a.engine && !by_engine(cell.write) && cluster_in(cell.write) == a.seen.cluster &&
             !before(cell.write, a.published)) {
    report("no proxy fence between a write and copy engine or tensor cores", a.at,
           long_of(cell.write_at));
  } else if (a.early && !a.writes) {
    if (const auto distance = launches_between(cell.write, a.seen.cluster); distance > 0)
      report_early(distance, a.at, long_of(cell.write_at));
  }
}
// A write, an atomic, or a read after atomics.
void check_reads(const Cell& cell, const Access& a) {
  if (!cell.reads) return;
  if (!(cell.reads & kSet)) {
    if ((a.writes || a.atomic) && !before(cell.reads, a.seen))
      report(a.atomic ? "an atomic and a read" : "a write and a read", a.at, long_of(cell.read_at));
    return;
  }
  for (const Entry& e : set_of(cell.reads).entries) {
    if (e.atomic ? a.atomic : !a.writes && !a.atomic) continue;
    if (!all_before(e, a.seen))
      report(e.atomic   ? a.writes ? "a write and an atomic" : "a read and an atomic"
             : a.atomic ? "an atomic and a read"
                        : "a write and a read",
             a.at, long_of(e.at));
  }
}

// Keeps of each thread the last read and the last atomic, and of those nothing that came before
// `a`: who comes after what is kept comes after all of it.
void tidy(Set& set, const Access& a) {
  auto& entries = set.entries;
  std::erase_if(entries, [&](const Entry& e) {
    return e.atomic == a.atomic &&
           !(e.warp == local_in(a.epoch) / 32 && e.cluster == cluster_in(a.epoch)) &&
           all_before(e, a.seen);
  });
  const auto who = [](const Entry& e) { return std::tuple(e.cluster, e.warp, e.atomic); };
  std::sort(entries.begin(), entries.end(), [&](const Entry& x, const Entry& y) {
    return std::tuple(who(x), y.time) < std::tuple(who(y), x.time);
  });
  std::size_t n = 0;
  std::uint32_t later = 0;  // lanes of the warp that have been there
  for (std::size_t i = 0; i < entries.size(); ++i) {
    Entry e = entries[i];
    if (i == 0 || who(e) != who(entries[i - 1])) later = 0;
    e.lanes &= ~later;
    later |= e.lanes;
    if (e.lanes == 0) continue;
    if (n > 0 && who(e) == who(entries[n - 1]) && e.time == entries[n - 1].time)
      entries[n - 1].lanes |= e.lanes;
    else
      entries[n++] = e;
  }
  entries.resize(n);
  set.limit = std::max(kTidyFrom, 2 * n);
}
void add_entry(Set& set, const Access& a) {
  const std::uint32_t cluster = cluster_in(a.epoch), local = local_in(a.epoch), warp = local / 32,
                      lane = 1u << local % 32, time = time_in(a.epoch), at = short_of(a.at);
  auto& entries = set.entries;
  constexpr std::size_t kLooksBack = 4;  // lanes of a warp mostly follow each other
  for (std::size_t i = entries.size(); i > 0 && entries.size() - i < kLooksBack; --i)
    if (Entry& e = entries[i - 1];
        e.warp == warp && e.cluster == cluster && e.time == time && e.atomic == a.atomic) {
      e.lanes |= lane;
      return;
    }
  entries.push_back({cluster, warp, time, lane, at, a.atomic});
  if (entries.size() >= set.limit) tidy(set, a);
}
Reads with_read(const Cell& cell, const Access& a, std::size_t n) {
  const Reads reads = cell.reads;
  if (!(reads & kSet)) {
    if (!a.atomic && (!reads || before(reads, a.seen))) return a.epoch;
    const Reads added = new_set();
    Set& set = set_of(added);
    set.cells = n;
    if (reads)
      set.entries.push_back({cluster_in(reads), local_in(reads) / 32, time_in(reads),
                             1u << local_in(reads) % 32, cell.read_at, false});
    add_entry(set, a);
    return added;
  }
  Set& set = set_of(reads);
  if (set.cells == n) {
    add_entry(set, a);
    return reads;
  }
  const Reads added = new_set();
  Set &from = set_of(reads), &to = set_of(added);
  from.cells -= n;
  to.cells = n;
  to.entries = from.entries;
  to.limit = from.limit;
  add_entry(to, a);
  return added;
}

// Bytes of a page, all with the same past.
void access_run(Cell* cells, std::size_t n, const Access& a) {
  const Cell was = cells[0];
  check_write(was, a);
  check_reads(was, a);
  if (a.writes) {
    drop(was.reads, n);
    const Cell now{a.epoch, 0, short_of(a.at), 0};
    for (std::size_t i = 0; i < n; ++i) cells[i] = now;
    return;
  }
  const Reads reads = with_read(was, a, n);
  const std::uint32_t at = short_of(a.at);
  for (std::size_t i = 0; i < n; ++i) cells[i].reads = reads, cells[i].read_at = at;
}

}  // namespace

void access(std::uintptr_t address, std::size_t bytes, const Access& a) {
  ++looked.accesses;
  looked.bytes += bytes;
  while (bytes > 0) {
    Cell* const cells = page_of(address).cells + address % kPage;
    const std::size_t here = std::min(bytes, kPage - address % kPage);
    for (std::size_t i = 0, run; i < here; i += run) {
      run = 1;
      while (i + run < here && cells[i + run].write == cells[i].write &&
             cells[i + run].reads == cells[i].reads)
        ++run;
      access_run(cells + i, run, a);
    }
    address += here;
    bytes -= here;
  }
}

void forget(const void* from, std::size_t bytes) {
  auto address = reinterpret_cast<std::uintptr_t>(from);
  while (bytes > 0) {
    const std::size_t here = std::min(bytes, kPage - address % kPage);
    if (const auto page = pages.find(address / kPage); page != pages.end())
      for (std::size_t i = 0; i < here; ++i) {
        Cell& cell = page->second->cells[address % kPage + i];
        drop(cell.reads, 1);
        cell = {};
      }
    address += here;
    bytes -= here;
  }
}
void forget_memory() {
  pages.clear();
  last_number = ~std::uintptr_t{0};
  sets.clear();
  free_sets.clear();
}

}  // namespace lares::kernels::cuda::simt::races
