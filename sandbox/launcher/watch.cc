#include "sandbox/launcher/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "sandbox/launcher/sys.h"
#include "sandbox/launcher/tasks.h"

namespace lares::sandbox::launcher {
namespace {

constexpr int kDescriptorsMax = 65536;  // of the whole tree, looked at in one round

using Dir = std::unique_ptr<DIR, int (*)(DIR*)>;

struct Tree {
  // mapped: what is shared counts once for everyone who maps it
  std::uint64_t private_bytes = 0, mapped_bytes = 0;
  std::size_t n_processes = 0;
  std::vector<std::string> memories;  // "/proc/7/task/8", of each process one
  std::vector<std::string> tables;    // so too, for each table of descriptors
};

bool is_number(const char* name) { return name[0] >= '0' && name[0] <= '9'; }

Tree measure() {
  Tree out;
  const Dir proc(::opendir("/proc"), ::closedir);
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  while (const dirent* entry = proc ? ::readdir(proc.get()) : nullptr) {
    if (!is_number(entry->d_name)) continue;
    const pid_t process = ::atoi(entry->d_name);
    const auto tasks = tasks_of(process);
    for (const pid_t task : one_for_each_table(tasks))
      out.tables.push_back(task_path(process, task));
    ++out.n_processes;
    // The first thread may have ended, and its share in the memory with it.
    unsigned long long size = 0, resident = 0, shared = 0;
    const auto told = std::find_if(tasks.begin(), tasks.end(), [&](pid_t task) {
      const auto text = text_of(task_path(process, task) + "/statm");
      return ::sscanf(text.c_str(), "%llu %llu %llu", &size, &resident, &shared) == 3 &&
             resident > 0;
    });
    if (told == tasks.end()) continue;
    out.memories.push_back(task_path(process, *told));
    out.private_bytes += (resident - std::min(resident, shared)) * page;
    out.mapped_bytes += resident * page;
  }
  return out;
}

// Shared memory that is mapped, each page once. Walks page tables: only for a tree that may be too
// large.
std::uint64_t shared_bytes(const Tree& tree) {
  std::uint64_t kilobytes = 0;
  for (const auto& memory : tree.memories) {
    const auto text = text_of(memory + "/smaps_rollup");
    if (const auto at = text.find("Pss_Shmem:"); at != text.npos)
      kilobytes += static_cast<std::uint64_t>(::atoll(text.c_str() + at + 10));
  }
  return kilobytes << 10;
}

// Files in memory that have no name, by their descriptors; mapped or not.
std::uint64_t memory_file_bytes(const Tree& tree) {
  std::set<std::pair<dev_t, ino_t>> seen;
  std::uint64_t blocks = 0;
  int left = kDescriptorsMax;
  for (const auto& table : tree.tables) {
    const Dir dir(::opendir((table + "/fd").c_str()), ::closedir);
    while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
      char target[64];
      if (!is_number(entry->d_name) || --left < 0) continue;
      const auto n = ::readlinkat(::dirfd(dir.get()), entry->d_name, target, sizeof target);
      struct stat status;
      if (n < 7 || std::string_view(target, 7) != "/memfd:" ||
          ::fstatat(::dirfd(dir.get()), entry->d_name, &status, 0) != 0)
        continue;
      if (seen.emplace(status.st_dev, status.st_ino).second)
        blocks += static_cast<std::uint64_t>(status.st_blocks);
    }
  }
  return blocks * 512;
}

// The namespace's own System V segments: /proc/sysvipc/shm, the column "rss".
std::uint64_t segment_bytes() {
  std::istringstream lines(text_of("/proc/sysvipc/shm"));
  std::string line;
  std::uint64_t bytes = 0;
  for (std::getline(lines, line); std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string word;
    for (int i = 0; i < 15 && fields >> word; ++i)
      if (i == 14) bytes += static_cast<std::uint64_t>(::atoll(word.c_str()));
  }
  return bytes;
}

}  // namespace

std::string too_much_memory(const Spec& spec) {
  return fmt::format("use more than {} MiB of memory together", spec.memory_bytes >> 20);
}

std::string over_limit(const Spec& spec) {
  const auto tree = measure();
  // RLIMIT_NPROC does not count what is the host's root by number, hence the second look.
  if (tree.n_processes > spec.n_processes + 1)
    return fmt::format("are more than {}", spec.n_processes);
  const auto kept = tree.private_bytes + memory_file_bytes(tree) + segment_bytes();
  if (kept > spec.memory_bytes || (tree.mapped_bytes > spec.memory_bytes &&
                                   tree.private_bytes + shared_bytes(tree) > spec.memory_bytes))
    return too_much_memory(spec);
  return {};
}

}  // namespace lares::sandbox::launcher
