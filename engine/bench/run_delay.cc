#include "engine/bench/run_delay.h"

#include <dirent.h>

#include <cstdio>

namespace lares::engine::bench {

std::optional<double> run_delay() {
  DIR* tasks = ::opendir("/proc/self/task");
  if (!tasks) return std::nullopt;
  double total = 0;
  bool known = false;
  while (const dirent* entry = ::readdir(tasks)) {
    if (entry->d_name[0] == '.') continue;
    char path[sizeof entry->d_name + 32];
    std::snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", entry->d_name);
    if (std::FILE* f = std::fopen(path, "re")) {
      unsigned long long ran = 0, waited = 0;
      if (std::fscanf(f, "%llu %llu", &ran, &waited) == 2) {
        total += static_cast<double>(waited) * 1e-9;
        known = true;
      }
      std::fclose(f);
    }
  }
  ::closedir(tasks);
  return known ? std::optional(total) : std::nullopt;
}

}  // namespace lares::engine::bench
