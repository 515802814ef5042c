#include "engine/bench/region.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "engine/model/memory/available_memory.h"

namespace lares::engine::bench {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

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
