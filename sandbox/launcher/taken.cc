#include "sandbox/launcher/taken.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string_view>

#include "sandbox/launcher/sys.h"
#include "sandbox/launcher/tasks.h"

namespace lares::sandbox::launcher {
namespace {

constexpr std::size_t kEntriesMax = 2'000'000;    // looked at
constexpr std::size_t kMapsBytesMax = 16u << 20;  // of one process
constexpr std::size_t kDescriptorsMax = 65'536;   // of all

using Dir = std::unique_ptr<DIR, int (*)(DIR*)>;

bool vanished(int error) { return error == ENOENT || error == ENOTDIR || error == ESRCH; }

class Look {
 public:
  Look(time_t since, int worktree, const std::string& root)
      : since_(since), worktree_(worktree), root_(root) {
    struct statfs fs;
    struct stat status;
    if (::fstatfs(worktree, &fs) == 0) type_ = fs.f_type;
    if (::fstat(worktree, &status) == 0) device_ = status.st_dev;
  }

  // Each false: in doubt.
  bool files() {
    std::vector<std::string> todo = {"."};
    for (std::size_t n = 0; !todo.empty();) {
      const auto path = std::move(todo.back());
      todo.pop_back();
      if (!directory(path, n, todo)) return false;
    }
    return true;
  }
  bool of(pid_t process) {
    const auto tasks = tasks_of(process);
    for (const pid_t task : one_for_each_table(tasks))
      if (!open_files(process, task)) return false;
    const auto alive = std::find_if(tasks.begin(), tasks.end(),
                                    [&](pid_t task) { return !is_ending(process, task); });
    return alive == tasks.end() || mapped_files(process, *alive);
  }
  Taken out;

 private:
  // Not those of covers, which are in memory.
  bool is_the_worktrees(int fd, const struct stat& status) const {
    if (status.st_dev == device_) return true;
    struct statfs fs;
    return type_ != TMPFS_MAGIC && ::fstatfs(fd, &fs) == 0 && fs.f_type == type_;
  }
  void add(const struct stat& status) {
    if (status.st_ctim.tv_sec < since_) return;
    out.bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    ++out.inodes;
  }

  bool directory(const std::string& path, std::size_t& n, std::vector<std::string>& todo) {
    const int fd = ::openat(worktree_, path.c_str(),
                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES) return is_out_of_reach(path);
    if (fd < 0) return vanished(errno) || errno == ELOOP;
    const Dir dir(::fdopendir(fd), ::closedir);
    if (!dir) return ::close(fd), false;
    struct stat status;
    if (::fstat(fd, &status) != 0 || !is_the_worktrees(fd, status)) return true;
    while (const dirent* entry = ::readdir(dir.get())) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (++n > kEntriesMax) return false;
      if (::fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (!vanished(errno)) return false;
        continue;
      }
      add(status);
      if (S_ISDIR(status.st_mode)) todo.push_back(path + "/" + entry->d_name);
    }
    return true;
  }

  // Of a directory that cannot be read: by commands neither, and they cannot have taken that right
  // away themselves.
  bool is_out_of_reach(const std::string& path) const {
    struct stat status;
    if (::fstatat(worktree_, path.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return vanished(errno);
    return status.st_uid != ::geteuid() &&
           ::faccessat(worktree_, path.c_str(), W_OK | X_OK, AT_EACCESS) != 0;
  }

  // What ends may not be looked at any more, and holds nothing in a moment.
  bool is_gone(int error, pid_t process, pid_t task) const {
    return vanished(error) || (error == EACCES && is_ending(process, task));
  }

  bool open_files(pid_t process, pid_t task) {
    const Dir dir(::opendir((task_path(process, task) + "/fd").c_str()), ::closedir);
    if (!dir) return is_gone(errno, process, task);
    while (const dirent* entry = ::readdir(dir.get())) {
      if (entry->d_name[0] == '.') continue;
      if (++n_descriptors_ > kDescriptorsMax) return false;
      const Fd file(::openat(::dirfd(dir.get()), entry->d_name, O_PATH | O_CLOEXEC));
      struct stat status;
      if (!file && !is_gone(errno, process, task)) return false;
      if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
          status.st_nlink > 0 || !is_the_worktrees(file.get(), status))
        continue;
      if (held_.insert(status.st_ino).second) add(status);
    }
    return true;
  }

  // A file without a name lives as long as it is mapped, and how large it is nobody tells.
  bool mapped_files(pid_t process, pid_t task) const {
    const Fd file(::open((task_path(process, task) + "/maps").c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return is_gone(errno, process, task);
    const auto maps = read_file(file.get(), kMapsBytesMax);
    if (maps.size() == kMapsBytesMax) return false;
    for (std::size_t begin = 0; begin < maps.size();) {
      const auto end = std::min(maps.find('\n', begin), maps.size());
      const auto line = std::string_view(maps).substr(begin, end - begin);
      begin = end + 1;
      if (line.ends_with(" (deleted)") && line.find(" " + root_ + "/") != line.npos &&
          !held_.contains(inode_in(line)))
        return false;
    }
    return true;
  }
  // "from-to rights offset device inode path"
  static ino_t inode_in(std::string_view line) {
    for (int i = 0; i < 4; ++i) line.remove_prefix(std::min(line.find(' ') + 1, line.size()));
    return ::strtoull(std::string(line.substr(0, 20)).c_str(), nullptr, 10);
  }

  const time_t since_;
  const int worktree_;
  const std::string& root_;
  dev_t device_ = 0;
  decltype(statfs::f_type) type_ = 0;
  std::set<ino_t> held_;
  std::size_t n_descriptors_ = 0;
};

}  // namespace

std::optional<Taken> taken_since(time_t since, int worktree, const std::string& root,
                                 const std::vector<pid_t>& processes) {
  Look look(since, worktree, root);
  if (!look.files()) return std::nullopt;
  for (const pid_t process : processes)
    if (!look.of(process)) return std::nullopt;
  return look.out;
}

}  // namespace lares::sandbox::launcher
