#include "engine/bench/region.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>

namespace lares::engine::bench {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();

// The number behind `key` in a file of "key number" lines, or the file's first number when `key` is
// empty.
std::uint64_t number_in(const char* path, const char* key) {
  std::uint64_t found = kUnknown;
  if (std::FILE* f = std::fopen(path, "re")) {
    char line[256];
    const std::size_t n = std::strlen(key);
    while (found == kUnknown && std::fgets(line, sizeof line, f)) {
      unsigned long long v = 0;
      if (std::strncmp(line, key, n) == 0 && std::sscanf(line + n, "%llu", &v) == 1) found = v;
    }
    std::fclose(f);
  }
  return found;
}

}  // namespace

std::uint64_t available_bytes() {
  std::uint64_t free = kUnknown;
  if (const auto kb = number_in("/proc/meminfo", "MemAvailable:"); kb != kUnknown) free = kb * 1024;
  const auto most = number_in("/sys/fs/cgroup/memory.max", ""),
             used = number_in("/sys/fs/cgroup/memory.current", "");
  if (most != kUnknown && used != kUnknown) {
    // Pages of files count as used and go when they are needed.
    const auto files = number_in("/sys/fs/cgroup/memory.stat", "inactive_file ");
    const auto held = files == kUnknown ? used : used - std::min(used, files);
    free = std::min(free, most > held ? most - held : 0);
  }
  return free;
}

Result<> check_fits(std::uint64_t bytes, const char* what) {
  const std::uint64_t free = available_bytes();
  if (bytes <= free) return {};
  return tl::unexpected(Error{
      Errc::no_memory,
      fmt::format(
          "bench: {} need {:.2f} GB and {:.2f} GB are available; free some, or give less with "
          "--memory, --shape or --tokens",
          what, static_cast<double>(bytes) * 1e-9, static_cast<double>(free) * 1e-9)});
}

Result<Region> Region::map(std::size_t bytes, const char* what) {
  if (auto fits = check_fits(bytes, what); !fits) return tl::unexpected(fits.error());
  Region r;
  r.size_ = bytes;
  r.mapped_ = (bytes + kHugePage - 1) / kHugePage * kHugePage + kHugePage;
  void* at = ::mmap(nullptr, r.mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED)
    return tl::unexpected(Error{
        Errc::no_memory,
        fmt::format("bench: map {} bytes for {}: {}", r.mapped_, what, std::strerror(errno))});
  r.base_ = at;
  r.data_ = reinterpret_cast<std::uint8_t*>((reinterpret_cast<std::uintptr_t>(at) + kHugePage - 1) /
                                            kHugePage * kHugePage);
#ifdef MADV_HUGEPAGE
  ::madvise(r.data_, r.mapped_ - kHugePage,
            MADV_HUGEPAGE);  // a wish: small pages cost up to 13 % of the bandwidth
#endif
  return r;
}

Region::~Region() {
  if (base_) ::munmap(base_, mapped_);
}

}  // namespace lares::engine::bench
