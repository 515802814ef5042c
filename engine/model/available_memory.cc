#include "engine/model/available_memory.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>

namespace lares::engine {
namespace {

constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();

// The number behind `key` in a file of "key number" lines, or the file's first number when `key` is empty.
std::uint64_t number_in(const std::string& path, const char* key) {
  std::uint64_t found = kUnknown;
  if (std::FILE* f = std::fopen(path.c_str(), "re")) {
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

// What a cgroup (v2) leaves its members.
std::uint64_t left_by(const std::string& group) {
  const auto most = number_in(group + "/memory.max", ""), used = number_in(group + "/memory.current", "");
  if (most == kUnknown || used == kUnknown) return kUnknown;
  std::uint64_t held = used;
  for (const char* key : {"inactive_file ", "active_file "})
    if (const auto files = number_in(group + "/memory.stat", key); files != kUnknown) held -= std::min(held, files);
  return most > held ? most - held : 0;
}

// This process's cgroup below the mount, such as "/user.slice/session-1.scope".
std::string own_group() {
  std::string group;
  if (std::FILE* f = std::fopen("/proc/self/cgroup", "re")) {
    char line[4096];
    while (std::fgets(line, sizeof line, f))
      if (std::strncmp(line, "0::", 3) == 0) group = std::string(line + 3, std::strcspn(line + 3, "\n"));
    std::fclose(f);
  }
  return group;
}

}  // namespace

std::uint64_t available_bytes() {
  std::uint64_t free = kUnknown;
  if (const auto kb = number_in("/proc/meminfo", "MemAvailable:"); kb != kUnknown) free = kb * 1024;
  for (std::string group = own_group();;) {
    while (!group.empty() && group.back() == '/') group.pop_back();
    free = std::min(free, left_by("/sys/fs/cgroup" + group));
    if (group.empty()) return free;
    const auto parent = group.rfind('/');
    group.resize(parent == std::string::npos ? 0 : parent);
  }
}

}  // namespace lares::engine
