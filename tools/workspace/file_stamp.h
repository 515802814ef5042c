// What stat says about one version of a file: equal stamps, equal content, unless it changed within
// the clock's grain.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <ctime>

namespace lares::tools {

struct FileStamp {
  std::int64_t mtime_ns = 0, ctime_ns = 0;
  std::uint64_t size = 0, inode = 0, device = 0;
  std::uint32_t mode = 0;
  bool operator==(const FileStamp&) const = default;
};

inline std::int64_t nanoseconds(const timespec& t) {
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}
inline FileStamp stamp_of(const struct stat& st) {
  return {nanoseconds(st.st_mtim),
          nanoseconds(st.st_ctim),
          static_cast<std::uint64_t>(st.st_size),
          static_cast<std::uint64_t>(st.st_ino),
          static_cast<std::uint64_t>(st.st_dev),
          static_cast<std::uint32_t>(st.st_mode)};
}

// A file that changed so shortly before it was read may change again without a new stamp: clocks of
// file systems have grains up to 2 s (FAT), 4 ms are usual. Only ctime counts, for nobody can set
// it.
inline constexpr std::int64_t kRacyNs = 2'000'000'000;
inline std::int64_t now_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  return nanoseconds(t);
}

// Continues a hash that only tells equal from unequal, inside one process.
inline std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15 + (hash << 6) + (hash >> 2);
  hash ^= hash >> 29;
  return hash * 0xbf58476d1ce4e5b9;
}
inline std::uint64_t mixed(std::uint64_t hash, const FileStamp& s) {
  for (const std::uint64_t v :
       {static_cast<std::uint64_t>(s.mtime_ns), static_cast<std::uint64_t>(s.ctime_ns), s.size,
        s.inode, s.device, static_cast<std::uint64_t>(s.mode)}) {
    hash = mixed(hash, v);
  }
  return hash;
}

}  // namespace lares::tools
