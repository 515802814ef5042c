#include "daemon/repository.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "sandbox/user_home.h"
#include "tools/text.h"
#include "tools/workspace/own_files.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kKeyLength = 16;
constexpr const char* kWorktrees = "worktrees";  // below the state directory: of sessions

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

// As sandbox/policy.cc refuses to run commands there, and for the same reason.
std::string why_no_session(const std::string& root) {
  namespace fs = std::filesystem;
  std::error_code ec;
  const fs::path home = sandbox::user_home();
  const fs::path top(root);
  const auto within = [](const fs::path& inner, const fs::path& outer) {
    return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first ==
           outer.end();
  };
  if (!home.empty() && within(home, top))
    return fmt::format(
        "open the repository {}: it {} your home directory, of which no model should see all; go "
        "into a project's own folder, or make it a repository with `git init` there",
        root, home == top ? "is" : "contains");
  // As git tells its own directories from others.
  if (!fs::exists(top / ".git", ec) && fs::exists(top / "HEAD", ec) &&
      fs::is_directory(top / "objects", ec) && fs::is_directory(top / "refs", ec))
    return fmt::format(
        "open the repository {}: it is a bare one, which holds history and no files; go into a "
        "worktree of it (`git worktree add DIR` makes one)",
        root);
  for (fs::path at = top; at != at.root_path(); at = at.parent_path())
    if (fs::exists(at / tools::kOwnMark, ec) && !within(top, at / kWorktrees))
      return fmt::format(
          "open the repository {}: Lares keeps files of its own in {}; go into a project's folder",
          root, at.string());
  return "";
}

std::string repository_key(const std::string& root) {
  return tools::blob_sha(root).substr(0, kKeyLength);
}

}  // namespace lares::daemon
