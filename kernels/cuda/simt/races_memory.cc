#include "kernels/cuda/simt/races_memory.h"

#include <algorithm>
#include <deque>
#include <unordered_map>

namespace lares::kernels::cuda::simt::races {
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
struct Set {
  std::size_t cells = 0;  // bytes that have it
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

void add_entry(Set& set, const Access& a) {
  const std::uint32_t cluster = cluster_in(a.epoch), local = local_in(a.epoch), warp = local / 32,
                      lane = 1u << local % 32, time = time_in(a.epoch), at = short_of(a.at);
  Entry* same = nullptr;
  bool emptied = false;
  for (Entry& e : set.entries) {
    if (e.warp != warp || e.cluster != cluster || e.atomic != a.atomic) continue;
    if (e.time == time) {
      same = &e;
    } else if (e.lanes & lane) {
      e.lanes &= ~lane;
      emptied |= e.lanes == 0;
    }
  }
  if (same)
    same->lanes |= lane;
  else
    set.entries.push_back({cluster, warp, time, lane, at, a.atomic});
  if (emptied) std::erase_if(set.entries, [](const Entry& e) { return e.lanes == 0; });
  if (set.entries.size() % 64 == 0)  // what came before this one need not be kept
    std::erase_if(set.entries, [&](const Entry& e) {
      return e.atomic == a.atomic && !(e.warp == warp && e.cluster == cluster) &&
             all_before(e, a.seen);
    });
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
