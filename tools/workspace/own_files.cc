#include "tools/workspace/own_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/fd.h"
#include "tools/workspace/rooted_fs.h"

namespace lares::tools {
namespace {

constexpr std::string_view kWords =
    "Lares keeps files of its own in this directory. It shows them to no model.\n";

}  // namespace

void mark_as_own(const std::string& directory) {
  const std::string path = directory + "/" + std::string(kOwnMark);
  const Fd mark(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (mark) (void)!::write(mark.get(), kWords.data(), kWords.size());
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
