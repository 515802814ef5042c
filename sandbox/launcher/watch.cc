#include "sandbox/launcher/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "sandbox/launcher/sys.h"
#include "sandbox/launcher/tasks.h"

namespace lares::sandbox::launcher {
namespace {

constexpr std::size_t kSegmentBytesMax = 1 << 20;  // 4,096 segments of some 200 bytes
constexpr int kDescriptorsMax = 65536;             // of the whole tree, looked at in one round

using Dir = std::unique_ptr<DIR, int (*)(DIR*)>;

struct Memory {
  std::string path;  // "/proc/7/task/8", of each process one
  pid_t task = 0;
};

struct Tree {
  // private: what forks share counts for each of them, for the kernel tells no better without a
  // walk.
  // mapped: what is shared counts once for everyone who maps it
  std::uint64_t private_bytes = 0, mapped_bytes = 0;
  std::size_t n_processes = 0;
  std::vector<Memory> memories;
  std::vector<std::string> tables;  // "/proc/7/task/8", for each table of descriptors
};

// Of all processes together, each page once, however many of them map it.
struct Held {
  std::uint64_t anonymous_bytes = 0, shared_bytes = 0;
};

bool is_number(const char* name) { return name[0] >= '0' && name[0] <= '9'; }

std::vector<pid_t> all_processes() {
  std::vector<pid_t> out;
  const Dir proc(::opendir("/proc"), ::closedir);
  while (const dirent* entry = proc ? ::readdir(proc.get()) : nullptr)
    if (is_number(entry->d_name)) out.push_back(::atoi(entry->d_name));
  return out;
}

struct Resident {
  std::uint64_t bytes = 0, private_bytes = 0;
};

// Nothing: it has ended.
std::optional<Resident> resident_of(const std::string& path) {
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  unsigned long long size = 0, resident = 0, shared = 0;
  const auto text = text_of(path + "/statm");
  if (::sscanf(text.c_str(), "%llu %llu %llu", &size, &resident, &shared) != 3 || resident == 0)
    return {};
  return Resident{resident * page, (resident - std::min(resident, shared)) * page};
}

Tree measure(const std::vector<pid_t>& processes) {
  Tree out;
  for (const pid_t process : processes) {
    const auto tasks = tasks_of(process);
    for (const pid_t task : one_for_each_table(tasks))
      out.tables.push_back(task_path(process, task));
    ++out.n_processes;
    // The first thread may have ended, and its share in the memory with it.
    std::optional<Resident> resident;
    const auto told = std::find_if(tasks.begin(), tasks.end(), [&](pid_t task) {
      return (resident = resident_of(task_path(process, task))).has_value();
    });
    if (told == tasks.end()) continue;
    out.memories.push_back({task_path(process, *told), *told});
    out.private_bytes += resident->private_bytes;
    out.mapped_bytes += resident->bytes;
  }
  return out;
}

// The number behind `name` in smaps_rollup, in bytes.
std::optional<std::uint64_t> field_of(const std::string& text, std::string_view name) {
  const auto at = text.find(name);
  if (at == text.npos) return {};
  return static_cast<std::uint64_t>(::atoll(text.c_str() + at + name.size())) << 10;
}

// As kcmp(2) orders memories: -1, 0 where two processes are in one, or 1; of one that has ended, 1.
int compare_memory(pid_t a, pid_t b) {
  const long order = ::syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0);
  return order == 0 ? 0 : order == 1 ? -1 : 1;
}

// Walks page tables: only for a tree that may be too large. Who hides from us is held to have
// nothing in common with others; who has ended since it was counted holds nothing any more. A child
// of vfork(2) is in its parent's memory.
Held weigh(const Tree& tree) {
  Held out;
  std::vector<pid_t> weighed;  // in the order of their memories
  for (const auto& memory : tree.memories) {
    const auto at = std::lower_bound(
        weighed.begin(), weighed.end(), memory.task,
        [](pid_t other, pid_t task) { return compare_memory(other, task) < 0; });
    if (at != weighed.end() && compare_memory(*at, memory.task) == 0) continue;
    const auto text = text_of(memory.path + "/smaps_rollup");
    const auto anonymous = field_of(text, "Pss_Anon:");
    if (anonymous) weighed.insert(at, memory.task);
    const auto hidden = anonymous ? std::nullopt : resident_of(memory.path);
    out.anonymous_bytes += anonymous.value_or(hidden ? hidden->private_bytes : 0);
    out.shared_bytes += field_of(text, "Pss_Shmem:").value_or(0);
  }
  return out;
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

Fd open_segments() { return Fd(::open("/proc/sysvipc/shm", O_RDONLY | O_CLOEXEC)); }

// Those of the IPC namespace of `process`: the list is of the namespace that it was opened in, and
// entering that takes a process of its own, which shares our descriptors.
Fd open_segments_of(pid_t process) {
  const Fd ipc(::open(fmt::format("/proc/{}/ns/ipc", process).c_str(), O_RDONLY | O_CLOEXEC));
  const Fd owner(ipc ? ::ioctl(ipc.get(), NS_GET_USERNS) : -1);
  Fd place(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  int raw = -1;
  const pid_t pid = owner && place ? clone_with(CLONE_FILES, &raw) : -1;
  if (pid < 0) fail_errno("limits", "look for the sandbox's shared memory");
  if (pid == 0) {
    if (::setns(owner.get(), CLONE_NEWUSER) != 0 || ::setns(ipc.get(), CLONE_NEWIPC) != 0)
      fail_errno("limits", "enter the sandbox's IPC namespace");
    const int list = ::open("/proc/sysvipc/shm", O_RDONLY | O_CLOEXEC);
    if (list >= 0) ::dup3(list, place.get(), O_CLOEXEC);
    if (list >= 0) ::close(list);
    ::_exit(list >= 0 || errno == ENOENT ? 0 : kExitSetupFailed);
  }
  const Fd pidfd(raw);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) ::_exit(kExitSetupFailed);
  return place;
}

}  // namespace

std::string too_much_memory(const Spec& spec) {
  return fmt::format("use more than {} MiB of memory together", spec.memory_bytes >> 20);
}

Watch Watch::of_namespace(const Spec& spec) { return Watch(spec, 0, 1, open_segments()); }

// bubblewrap has a process outside and one that is the namespace's first.
Watch Watch::of_children(const Spec& spec, pid_t command) {
  return Watch(spec, ::getpid(), 2, open_segments_of(command));
}

std::vector<pid_t> Watch::processes() const {
  return top_ == 0 ? all_processes() : descendants_of(top_);
}

// The column "rss".
std::uint64_t Watch::segment_bytes() const {
  if (!segments_ || ::lseek(segments_.get(), 0, SEEK_SET) != 0) return 0;
  std::istringstream lines(read_file(segments_.get(), kSegmentBytesMax));
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

std::string Watch::over_limit() const {
  const auto tree = measure(processes());
  // RLIMIT_NPROC does not count what is the host's root by number, hence the second look.
  if (tree.n_processes > spec_.n_processes + n_own_)
    return fmt::format("are more than {}", spec_.n_processes);
  const auto of_files = memory_file_bytes(tree) + segment_bytes();
  if (tree.private_bytes + of_files <= spec_.memory_bytes &&
      tree.mapped_bytes <= spec_.memory_bytes)
    return {};
  const auto held = weigh(tree);
  // Two sums, for of what is mapped nobody tells whether it is one of those files or segments.
  return held.anonymous_bytes + std::max(of_files, held.shared_bytes) > spec_.memory_bytes
             ? too_much_memory(spec_)
             : "";
}

}  // namespace lares::sandbox::launcher
