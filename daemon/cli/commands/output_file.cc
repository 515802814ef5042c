#include "daemon/cli/commands/output_file.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace lares::cli {
namespace {

namespace fs = std::filesystem;

// The same bytes on the disk, also by another name.
bool same(const struct stat& a, const std::string& path) {
  struct stat b {};
  return ::stat(path.c_str(), &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

Result<std::string> output_path(const std::string& path, const std::vector<std::string>& inputs,
                                const std::string& checkpoint, bool to_stdout) {
  const auto refused = [&](std::string_view why) {
    return tl::unexpected(Error{fmt::format("write {}: {}; name another file", path, why)});
  };
  if (path.empty()) return refused("it has no name");
  if (path == "-") {
    if (!to_stdout) return refused("stdout is for the text");
    return std::string("/dev/stdout");
  }
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0) {
    if (errno != ENOENT) return refused(std::strerror(errno));
    const fs::path parent = fs::path(path).parent_path();
    if (::access(parent.empty() ? "." : parent.c_str(), W_OK | X_OK) != 0)
      return refused(std::strerror(errno));
    return path;
  }
  if (S_ISDIR(s.st_mode)) return refused("it is a directory");
  if (S_ISCHR(s.st_mode) || S_ISFIFO(s.st_mode)) return path;
  if (!S_ISREG(s.st_mode)) return refused("it is there and no regular file");
  for (const std::string& input : inputs)
    if (same(s, input)) return refused("that is what it reads");
  std::error_code ec;
  for (fs::directory_iterator at(checkpoint, ec), end; !checkpoint.empty() && !ec && at != end;
       at.increment(ec))
    if (same(s, at->path().string()))
      return refused(fmt::format("that is the checkpoint's {}", at->path().filename().string()));
  if (::access(path.c_str(), W_OK) != 0) return refused(std::strerror(errno));
  return path;
}

}  // namespace lares::cli
