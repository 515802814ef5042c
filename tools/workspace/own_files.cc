#include "tools/workspace/own_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <mutex>
#include <set>

#include "tools/fd.h"
#include "tools/workspace/rooted_fs.h"

namespace lares::tools {
namespace {

constexpr std::string_view kWords =
    "Lares keeps files of its own in this directory. It shows them to no model.\n";

// A process has one state directory and one of settings, so every command is kept from the same.
struct Marked {
  std::mutex mutex;
  std::set<std::string> directories;
};
Marked& marked() {
  static Marked all;
  return all;
}

void remember(const std::string& directory) {
  std::error_code failed;
  auto path = std::filesystem::weakly_canonical(std::filesystem::absolute(directory, failed),
                                                failed)
                  .lexically_normal()
                  .native();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (failed || path.size() < 2) return;
  const std::lock_guard lock(marked().mutex);
  marked().directories.insert(std::move(path));
}

}  // namespace

void mark_as_own(const std::string& directory) {
  remember(directory);
  const std::string path = directory + "/" + std::string(kOwnMark);
  const Fd mark(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (mark) (void)!::write(mark.get(), kWords.data(), kWords.size());
}

std::vector<std::string> own_directories() {
  const std::lock_guard lock(marked().mutex);
  return {marked().directories.begin(), marked().directories.end()};
}

bool lies_in_own(const RootedFs& fs, std::string_view path) {
  struct stat st {};
  for (std::size_t end = path.find('/'); !path.empty(); end = path.find('/', end + 1)) {
    const std::string above(path.substr(0, end));  // the path itself too: it may be the directory
    if (!above.empty() && fs.lstat(above + "/" + std::string(kOwnMark), st)) return true;
    if (end == std::string_view::npos) break;
  }
  return false;
}

}  // namespace lares::tools
