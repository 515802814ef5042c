#include "daemon/resident/unused_stores.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;

// Of a store, held by whoever has it open; its time is when it was used last
constexpr const char* kLock = "/LOCK";
constexpr const char* kGoing = ".unused";  // what a store is called while it is deleted

struct Found {
  fs::path path;
  fs::file_time_type used;
  std::uint64_t bytes = 0;
};

std::uint64_t bytes_of(const fs::path& directory) {
  std::uint64_t sum = 0;
  std::error_code ec;
  for (auto at = fs::recursive_directory_iterator(directory, ec);
       !ec && at != fs::recursive_directory_iterator(); at.increment(ec)) {
    std::error_code gone;
    const auto size = at->is_regular_file(gone) ? at->file_size(gone) : 0;
    if (!gone) sum += size;
  }
  return sum;
}

// Oldest first. What an earlier process began to delete counts as unused for ever.
std::vector<Found> stores_below(const std::string& stores) {
  std::vector<Found> out;
  std::error_code ec;
  for (auto at = fs::directory_iterator(stores, ec); !ec && at != fs::directory_iterator();
       at.increment(ec)) {
    std::error_code none;
    if (!at->is_directory(none) || at->is_symlink(none)) continue;
    const auto used = at->path().extension() == kGoing
                          ? fs::file_time_type::min()
                          : fs::last_write_time(at->path().string() + kLock, none);
    if (!none) out.push_back({at->path(), used, bytes_of(at->path())});
  }
  std::ranges::sort(out, {}, &Found::used);
  return out;
}

// True: it is gone; false: a daemon has it, or `line` says why not.
bool remove_store(const fs::path& store, std::string& line) {
  const int lock = ::open((store.string() + kLock).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  const bool taken = lock >= 0 && ::flock(lock, LOCK_EX | LOCK_NB) != 0;
  std::error_code ec;
  if (!taken) {
    fs::path going = store;
    if (going.extension() != kGoing) fs::rename(store, going += kGoing, ec);
    if (!ec) fs::remove_all(going, ec);
    if (ec)
      line = fmt::format("remove the unused store {}: {}; it can be removed by hand",
                         store.string(), ec.message());
  }
  if (lock >= 0) ::close(lock);
  return !taken && !ec;
}

}  // namespace

void mark_store_used(const std::string& store) {
  std::error_code ec;  // what cannot be marked is deleted a month after it was made, and evaluated
                       // anew
  fs::last_write_time(store + kLock, fs::file_time_type::clock::now(), ec);
}

std::vector<std::string> remove_unused_stores(const std::string& stores,
                                              const UnusedStoresLimits& limits) {
  std::vector<std::string> lines;
  auto found = stores_below(stores);
  std::uint64_t sum = 0, bytes_max = limits.bytes_max;
  for (const Found& store : found) sum += store.bytes;
  std::error_code ec;
  if (bytes_max == 0)
    if (const auto space = fs::space(stores, ec); !ec)
      bytes_max = space.capacity / kStoresDiskShare;
  const auto oldest = fs::file_time_type::clock::now() - limits.kept;
  for (const Found& store : found) {
    const bool old = store.used < oldest;
    if (!old && (bytes_max == 0 || sum <= bytes_max)) continue;
    std::string line;
    if (remove_store(store.path, line)) {
      sum -= store.bytes;
      line = fmt::format(
          "removed the store {} ({} MB): {}", store.path.filename().string(),
          store.bytes / 1'000'000,
          old ? fmt::format("not used for {} days",
                            std::chrono::duration_cast<std::chrono::days>(limits.kept).count())
              : "all stores together were over their share of the disk");
    }
    if (!line.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace lares::daemon
