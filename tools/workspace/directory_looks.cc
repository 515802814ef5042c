#include "tools/workspace/directory_looks.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <new>
#include <optional>
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

DirectoryLook DirectoryLooks::look(const std::string& directory) const {
  DirectoryLook out;
  auto fd = tree_.open_directory(directory);
  if (!fd) return out.error = fd.error(), out;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd->get()), ::closedir);
  if (!dir) return out.error = errno, out;
  fd->release();  // the stream closes it
  for (std::size_t n = 0; n < entries_max_;) {
    const dirent* const found = ::readdir(dir.get());
    if (!found) break;
    const std::string_view name = found->d_name;
    if (name != "." && name != "..") n += add(::dirfd(dir.get()), *found, out.entries);
  }
  std::ranges::sort(out.entries, [](const DirectoryEntry& a, const DirectoryEntry& b) {
    return comes_before(a.name, a.is_directory(), b.name, b.is_directory());
  });
  return out;
}

void DirectoryLooks::ahead(const std::vector<std::string>& directories) {
  const std::size_t n_threads = std::min<std::size_t>(
      {kThreadsMax, std::thread::hardware_concurrency(), directories.size() / kDirectoriesEach});
  if (n_threads < 2) return;
  std::vector<std::optional<DirectoryLook>> looks(directories.size());
  std::atomic<std::size_t> next = 0, n_entries = 0;
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < directories.size() && n_entries < entries_max_; i = next++) {
        looks[i] = look(directories[i]);
        n_entries += looks[i]->entries.size();
      }
    } catch (const std::bad_alloc&) {  // who takes the others looks for himself
    }
  };
  {
    std::vector<std::jthread> threads;
    try {
      while (threads.size() + 1 < n_threads) threads.emplace_back(work);
    } catch (const std::system_error&) {  // then fewer do it
    }
    work();
  }
  for (std::size_t i = 0; i < looks.size(); ++i)
    if (looks[i]) ahead_.emplace(directories[i], std::move(*looks[i]));
}

DirectoryLook DirectoryLooks::take(const std::string& directory) {
  const auto found = ahead_.find(directory);
  if (found == ahead_.end()) return look(directory);
  DirectoryLook out = std::move(found->second);
  ahead_.erase(found);
  return out;
}

}  // namespace lares::tools
