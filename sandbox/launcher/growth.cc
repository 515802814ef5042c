#include "sandbox/launcher/growth.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "sandbox/launcher/taken.h"
#include "sandbox/launcher/tasks.h"

namespace lares::sandbox::launcher {
namespace {

constexpr std::size_t kTasksMax = 4096;       // threads looked at in one round
constexpr std::uint64_t kFreePercentMin = 2;  // of the file system, left to others
constexpr time_t kWindowSeconds = 600;        // in which growth counts
// Taken by itself, before a full file system is its fault
constexpr std::uint64_t kToBlameBytes = 256ull << 20;
// On a large one two percent would be too much to ask
constexpr std::uint64_t kPercentBytesMax = 10ull << 30;

constexpr time_t kStampMargin = 60;  // seconds by which a file server's clock may be behind
// Between two looks at the worktree at least as long, and so many times what the last one took: it
// costs the command's own processor time.
constexpr std::int64_t kLookEveryMs = 1000, kLookShare = 4;

std::int64_t now_ms() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

// Half of what was there when it began is its own at any rate: a disk that is nearly full stops
// nobody who takes little.
std::uint64_t floor_of(std::uint64_t wanted, std::uint64_t free_at_first) {
  return std::min(wanted, free_at_first / 2);
}

std::string size_text(std::uint64_t bytes) {
  return bytes >= 10ull << 30 ? fmt::format("{} GiB", bytes >> 30)
                              : fmt::format("{} MiB", bytes >> 20);
}

}  // namespace

Growth::Growth(const Spec& spec, pid_t top)
    : spec_(spec),
      top_(top),
      worktree_(::open(spec.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
  look(began_);
  last_ = began_;
  window_began_ = now_ms() / 1000;
  since_ = ::time(nullptr) - kStampMargin;
}

bool Growth::look(Space& out) const {
  struct statvfs now;
  if (!worktree_ || ::fstatvfs(worktree_.get(), &now) != 0) return false;
  const std::uint64_t block = now.f_frsize ? now.f_frsize : now.f_bsize;
  out = {.bytes_used = (now.f_blocks - std::min(now.f_blocks, now.f_bfree)) * block,
         .bytes_free = now.f_bavail * block,
         .bytes_all = now.f_blocks * block,
         .inodes_used = now.f_files - std::min(now.f_files, now.f_ffree),
         .inodes_free = now.f_ffree,
         .inodes_all = now.f_files};
  return true;
}

// By nanoseconds on a CPU, of the threads alive: who has ended was waited for by one that ran.
// Where the kernel does not tell, or there are too many to ask, one has.
bool Growth::has_run() {
  std::vector<pid_t> processes = {top_};
  std::uint64_t ran_ns = 0;
  std::size_t n_tasks = 0;
  for (std::size_t i = 0; i < processes.size() && n_tasks < kTasksMax; ++i) {
    for (const pid_t task : tasks_of(processes[i])) {
      ++n_tasks;
      const auto path = task_path(processes[i], task);
      for (const pid_t child : children_of(path)) processes.push_back(child);
      if (processes[i] == top_) continue;  // we are that, and run to look
      // One that comes or goes is a difference, too.
      ran_ns += ::strtoull(text_of(path + "/schedstat").c_str(), nullptr, 10) + 1;
    }
  }
  const bool known = n_tasks < kTasksMax && processes.size() > 1 && ran_ns > n_tasks;
  const bool same = known && ran_ns == ran_ns_;
  ran_ns_ = ran_ns;
  processes_ = std::move(processes);
  return !same;
}

std::string Growth::over() {
  Space now;
  if (!look(now)) return {};
  const std::int64_t seconds = now_ms() / 1000;
  // Others write to the file system, too: what runs for days is not to answer for all of it
  if (seconds - window_began_ >= kWindowSeconds) {
    window_began_ = seconds;
    since_ = ::time(nullptr) - kStampMargin;
    began_ = now;
    bytes_taken_ = inodes_taken_ = 0;
  }
  // Whoever wrote after the look before this one may not have run again since it was asked who has.
  const bool ran = has_run();
  const bool counts = ran || ran_before_;
  ran_before_ = ran;
  idle_ = !ran;
  if (counts) {
    bytes_taken_ = std::max<std::int64_t>(
        0, bytes_taken_ + static_cast<std::int64_t>(now.bytes_used - last_.bytes_used));
    inodes_taken_ = std::max<std::int64_t>(
        0, inodes_taken_ + static_cast<std::int64_t>(now.inodes_used - last_.inodes_used));
  } else if (bytes_taken_ == 0 && inodes_taken_ == 0) {
    began_ = now;
  }
  last_ = now;
  return counts && !too_much(now).empty() ? blame(now) : "";
}

// Others may have written it. Where the last look is too fresh, nobody is blamed yet.
std::string Growth::blame(const Space& now) {
  const auto began_ms = now_ms();
  if (began_ms < look_at_ms_) return {};
  const auto taken = taken_since(since_, worktree_.get(), spec_.root, processes_);
  const auto ended_ms = now_ms();
  look_at_ms_ = ended_ms + std::max(kLookEveryMs, kLookShare * (ended_ms - began_ms));
  if (taken) {
    bytes_taken_ = std::min(bytes_taken_, static_cast<std::int64_t>(taken->bytes));
    inodes_taken_ = std::min(inodes_taken_, static_cast<std::int64_t>(taken->inodes));
  }
  return too_much(now);
}

std::string Growth::too_much(const Space& now) const {
  if (spec_.growth_bytes > 0 && static_cast<std::uint64_t>(bytes_taken_) > spec_.growth_bytes)
    return fmt::format(
        "have taken more than {} of the worktree's file system; remove what is not needed",
        size_text(spec_.growth_bytes));
  if (spec_.growth_inodes > 0 && static_cast<std::uint64_t>(inodes_taken_) > spec_.growth_inodes)
    return fmt::format(
        "have made more than {} files in the worktree's file system; remove what is not needed",
        spec_.growth_inodes);
  const auto bytes_wanted = std::max(
      spec_.free_bytes, std::min(kPercentBytesMax, now.bytes_all / 100 * kFreePercentMin));
  const auto floor = floor_of(bytes_wanted, began_.bytes_free);
  if (bytes_taken_ > 0 &&
      static_cast<std::uint64_t>(bytes_taken_) >= std::min(kToBlameBytes, floor / 4) &&
      now.bytes_free < floor)
    return fmt::format(
        "have left only {} free in the worktree's file system; remove what is not needed",
        size_text(now.bytes_free));
  if (inodes_taken_ > 0 &&
      now.inodes_free < floor_of(now.inodes_all / 100 * kFreePercentMin, began_.inodes_free))
    return fmt::format(
        "have left room for only {} more files in the worktree's file system; remove what is not "
        "needed",
        now.inodes_free);
  return {};
}

}  // namespace lares::sandbox::launcher
