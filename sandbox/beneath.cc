#include "sandbox/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace lares::sandbox {
namespace {

constexpr int kRacesMax = 16;  // lost to those who rename

Fd open_walking(int root, const std::string& path, int flags, unsigned mode) {
  Fd at(::fcntl(root, F_DUPFD_CLOEXEC, 0));
  std::size_t begin = 0;
  while (at) {
    const std::size_t end = path.find('/', begin);
    const std::string part = path.substr(begin, end == path.npos ? end : end - begin);
    if (part == "..") {
      errno = EXDEV;
      return Fd();
    }
    if (end == path.npos)
      return Fd(::openat(at.get(), part.empty() ? "." : part.c_str(), flags | O_NOFOLLOW, mode));
    if (!part.empty())
      at = Fd(::openat(at.get(), part.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    begin = end + 1;
  }
  return at;
}

}  // namespace

int openat2(int dir, const char* path, std::uint64_t flags, std::uint64_t resolve, unsigned mode) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  long fd = -1;
  for (int i = 0; i < kRacesMax; ++i)
    if ((fd = ::syscall(SYS_openat2, dir, path, &how, sizeof how)) >= 0 || errno != EAGAIN) break;
  return static_cast<int>(fd);
}

Fd open_beneath(int root, const std::string& path, int flags, Links links, unsigned mode) {
  const auto all = static_cast<std::uint64_t>(flags);
  Fd out(openat2(
      root, path.empty() ? "." : path.c_str(), all,
      RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (links == Links::refused ? RESOLVE_NO_SYMLINKS : 0),
      mode));
  // EPERM: of a container's filter
  if (!out && (errno == ENOSYS || errno == EPERM))
    out = open_walking(root, path, flags | O_CLOEXEC, mode);
  return out;
}

}  // namespace lares::sandbox
