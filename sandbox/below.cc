#include "sandbox/below.h"

#include <errno.h>
#include <linux/openat2.h>

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "sandbox/beneath.h"

namespace lares::sandbox {
namespace {

constexpr std::size_t kFileBytesMax = 256 << 10;  // of a configuration

}  // namespace

std::string join(const std::string& dir, const std::string& name) {
  return dir.empty() ? name : dir + "/" + name;
}
std::string parent_of(const std::string& path) {
  return path.substr(0, path.rfind('/') == path.npos ? 0 : path.rfind('/'));
}
std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Fd open_below(int root, const std::string& path, int flags, bool links) {
  if ((flags & O_PATH) == 0) flags |= O_NONBLOCK | O_NOCTTY;
  return Fd(openat2(root, path.empty() ? "." : path.c_str(), static_cast<std::uint64_t>(flags),
                    RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (links ? 0 : RESOLVE_NO_SYMLINKS)));
}

bool stat_of(int root, const std::string& path, struct stat& out) {
  return ::fstatat(root, path.empty() ? "." : path.c_str(), &out, AT_SYMLINK_NOFOLLOW) == 0;
}

std::optional<std::string> text_of(int root, const std::string& path) {
  const Fd file = open_below(root, path, O_RDONLY);
  struct stat status;
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  std::string out(kFileBytesMax + 1, '\0');
  std::size_t size = 0;
  for (ssize_t n;
       size < out.size() && (n = ::read(file.get(), out.data() + size, out.size() - size)) > 0;)
    size += static_cast<std::size_t>(n);
  if (size > kFileBytesMax) return std::nullopt;
  out.resize(size);
  return out;
}

std::optional<std::string> leads(int root, const std::string& root_path, const std::string& dir,
                                 const std::string& to, bool& there) {
  there = false;
  const bool absolute = to.starts_with('/');
  if (absolute && to != root_path && !to.starts_with(root_path + "/")) return std::nullopt;
  const std::string at = absolute ? to.substr(std::min(to.size(), root_path.size() + 1))
                                  : join(dir, to);
  const Fd place = open_below(root, at, O_PATH, true);
  if (!place)
    return errno == ENOENT || errno == ENOTDIR ? std::optional(std::string()) : std::nullopt;
  std::error_code failed;
  const auto real =
      std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", place.get()), failed).native();
  if (failed || (real != root_path && !real.starts_with(root_path + "/"))) return std::nullopt;
  there = true;
  return real.size() > root_path.size() ? real.substr(root_path.size() + 1) : std::string();
}

}  // namespace lares::sandbox
