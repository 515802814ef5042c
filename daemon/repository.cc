#include "daemon/repository.h"

#include <filesystem>

#include <fmt/format.h>

#include "tools/text.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kKeyLength = 16;

}  // namespace

tl::expected<RepositoryRoot, std::string> repository_root(const std::string& directory) {
  namespace fs = std::filesystem;
  std::error_code ec;
  if (!fs::path(directory).is_absolute()) {
    return tl::unexpected(
        fmt::format("open the repository {}: the path must be absolute", directory));
  }
  const fs::path start = fs::canonical(directory, ec);
  if (ec || !fs::is_directory(start, ec)) {
    return tl::unexpected(fmt::format("open the repository {}: {}", directory,
                                      ec ? ec.message() : "it is no directory"));
  }
  // A worktree's .git is a directory, in linked worktrees and submodules a file.
  for (fs::path at = start;; at = at.parent_path()) {
    if (fs::exists(at / ".git", ec)) return RepositoryRoot{at.string(), true};
    if (at != at.root_path()) continue;
    if (start == start.root_path())
      return tl::unexpected(
          std::string("open the repository /: that is the whole file system, devices and all; name "
                      "a directory in it"));
    return RepositoryRoot{start.string(), false};
  }
}

std::string repository_key(const std::string& root) {
  return tools::blob_sha(root).substr(0, kKeyLength);
}

}  // namespace lares::daemon
