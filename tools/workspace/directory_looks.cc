#include "tools/workspace/directory_looks.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

namespace lares::tools {
namespace {

constexpr std::size_t kThreadsMax = 8;
constexpr std::size_t kDirectoriesEach = 100;  // that are worth a thread: it takes 50 us to start

bool add(int directory, const dirent& found, std::vector<DirectoryEntry>& out) {
  struct stat st {};
  if (found.d_type == DT_DIR)
    st.st_mode = S_IFDIR;
  else if (::fstatat(directory, found.d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return false;
  FileStamp stamp = stamp_of(st);
  if (S_ISDIR(st.st_mode)) stamp = {.mode = S_IFDIR};
  out.push_back({found.d_name, stamp});
  return true;
}

// Where whoever adds, removes or renames a name changes the times of its directory, whichever
// program did it. Others (FUSE, what servers hold) may tell late or not at all.
bool tells_of_names(int directory) {
  constexpr decltype(statfs::f_type) kXfs = 0x58465342;  // not in linux/magic.h
  struct statfs about {};
  if (::fstatfs(directory, &about) != 0) return false;
  switch (about.f_type) {
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case kXfs:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool comes_before(std::string_view a, bool a_is_directory, std::string_view b,
                  bool b_is_directory) {
  const std::size_t n = std::min(a.size(), b.size());
  if (const int order = a.substr(0, n).compare(b.substr(0, n)); order != 0) return order < 0;
  const auto next = [n](std::string_view name, bool is_directory) {
    return name.size() > n ? static_cast<unsigned char>(name[n]) : is_directory ? '/' : '\0';
  };
  return next(a, a_is_directory) < next(b, b_is_directory);
}

void DirectoryLooks::begin(const PlainTree& tree) {
  tree_ = tree;
  ++round_;
  n_read_ = 0;
  device_ = 0;
  struct stat st {};
  const auto root = tree_.directory("");
  if (root && ::fstat(root->get(), &st) == 0 && tells_of_names(root->get())) device_ = st.st_dev;
}

// The files of a directory whose names are known. False: it has others by now.
bool DirectoryLooks::look_again(int directory, Known& known) const {
  struct stat st {};
  if (!known.steady || ::fstat(directory, &st) != 0 || stamp_of(st) != known.stamp) return false;
  for (DirectoryEntry& entry : known.look.entries) {
    if (entry.is_directory()) continue;
    if (::fstatat(directory, entry.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        S_ISDIR(st.st_mode))
      return false;
    entry.stamp = stamp_of(st);
  }
  return true;
}

void DirectoryLooks::read(int directory, Known& known) {
  ++n_read_;
  const std::int64_t started = now_ns();
  struct stat st {};
  const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(fd < 0 ? nullptr : ::fdopendir(fd), ::closedir);
  if (!dir || ::fstat(fd, &st) != 0) {
    known.look.error = errno;
    if (!dir && fd >= 0) ::close(fd);
    return;
  }
  auto& entries = known.look.entries;
  std::size_t n = 0;
  while (n < entries_max_) {
    const dirent* const found = ::readdir(dir.get());
    if (!found) break;
    const std::string_view name = found->d_name;
    if (name != "." && name != "..") n += add(fd, *found, entries);
  }
  std::ranges::sort(entries, [](const DirectoryEntry& a, const DirectoryEntry& b) {
    return comes_before(a.name, a.is_directory(), b.name, b.is_directory());
  });
  known.stamp = stamp_of(st);
  known.look.mode = known.stamp.mode;
  known.steady = n < entries_max_ && device_ != 0 && known.stamp.device == device_ &&
                 known.stamp.ctime_ns < started - kRacyNs;
}

void DirectoryLooks::look(const std::string& directory, Known& known) {
  const auto fd = tree_.directory(directory);
  if (!fd || !look_again(fd->get(), known)) {
    known.look = {};
    known.steady = false;
    if (fd)
      read(fd->get(), known);
    else
      known.look.error = fd.error();
  }
  known.looked = round_;
}

void DirectoryLooks::ahead(const std::vector<std::string>& directories) {
  const std::size_t n_threads = std::min<std::size_t>(
      {kThreadsMax, std::thread::hardware_concurrency(), directories.size() / kDirectoriesEach});
  if (n_threads < 2) return;
  std::vector<Known*> known;  // the map is nobody's to change while threads fill what is in it
  known.reserve(directories.size());
  for (const std::string& directory : directories) known.push_back(&known_[directory]);
  std::atomic<std::size_t> next = 0, n_entries = 0;
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < directories.size() && n_entries < entries_max_; i = next++) {
        look(directories[i], *known[i]);
        n_entries += known[i]->look.entries.size();
      }
    } catch (const std::bad_alloc&) {  // who takes the others looks for himself
    }
  };
  std::vector<std::jthread> threads;
  try {
    while (threads.size() + 1 < n_threads) threads.emplace_back(work);
  } catch (const std::system_error&) {  // then fewer do it
  }
  work();
}

const DirectoryLook& DirectoryLooks::take(const std::string& directory) {
  Known& known = known_[directory];
  if (known.looked != round_) look(directory, known);
  known.taken = round_;
  return known.look;
}

void DirectoryLooks::end() {
  std::erase_if(known_, [this](const auto& known) { return known.second.taken != round_; });
}

}  // namespace lares::tools
