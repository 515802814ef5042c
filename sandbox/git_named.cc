#include "sandbox/git_named.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

#include "sandbox/fd.h"
#include "sandbox/git_config.h"
#include "sandbox/user_home.h"

namespace lares::sandbox {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFileBytesMax = 256 << 10;
constexpr std::size_t kFilesMax = 64;  // of configurations, for one repository

// "" also for what is no regular file, and for too large a one.
std::string text_of(const fs::path& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status;
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<std::size_t>(status.st_size) > kFileBytesMax)
    return {};
  std::string out(static_cast<std::size_t>(status.st_size), '\0');
  const auto n = ::read(file.get(), out.data(), out.size());
  out.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  return out;
}

std::string first_line(const fs::path& path) {
  const auto text = text_of(path);
  return text.substr(0, text.find_first_of("\r\n"));
}

// `to`, as written in a file: relative to `base`, or from the home directory.
fs::path leads(const std::string& to, const fs::path& base) {
  if (to.starts_with("~/")) return fs::path(user_home()) / to.substr(2);
  return base / to;  // an absolute one is itself
}

// Those of the repository, its linked worktree and the user, in which git looks first.
std::vector<fs::path> configurations(const fs::path& dir) {
  std::vector<fs::path> out = {"/etc/gitconfig"};
  if (const fs::path home = user_home(); !home.empty()) {
    const char* config = ::getenv("XDG_CONFIG_HOME");
    out.push_back((config && *config ? fs::path(config) : home / ".config") / "git/config");
    out.push_back(home / ".gitconfig");
  }
  std::error_code failed;
  fs::path git_dir = dir / ".git";
  if (!fs::is_directory(git_dir, failed)) {
    const auto line = first_line(git_dir);
    if (!line.starts_with("gitdir: ")) return out;
    git_dir = dir / line.substr(8);
  }
  const auto common = first_line(git_dir / "commondir");
  out.push_back((common.empty() ? git_dir : git_dir / common) / "config");
  out.push_back(git_dir / "config.worktree");
  return out;
}

// In the root, and not in a .git, which is kept as a whole.
bool is_the_worktrees(const std::string& path, const std::string& root) {
  if (!path.starts_with(root + "/")) return false;
  const fs::path below = path.substr(root.size() + 1);
  return std::none_of(below.begin(), below.end(), [](const auto& part) { return part == ".git"; });
}

}  // namespace

std::vector<GitNamed> named_by_git(const std::string& root, const std::string& dir) {
  std::vector<GitNamed> out;
  const auto add = [&](const fs::path& path, bool hooks) {
    auto text = path.lexically_normal().native();
    while (text.ends_with('/')) text.pop_back();
    if (is_the_worktrees(text, root)) out.push_back({std::move(text), hooks});
  };
  auto files = configurations(dir);
  std::set<fs::path> known;
  for (std::size_t i = 0; i < files.size() && i < kFilesMax; ++i) {
    const auto file = files[i].lexically_normal();
    if (!known.insert(file).second) continue;
    const auto text = text_of(file);
    if (text.empty()) continue;
    const auto says = judge_config(text);
    for (const auto& hooks : says.hooks)
      if (!hooks.empty()) add(leads(hooks, dir), true);
    for (const auto& included : says.includes) {
      if (included.empty()) continue;
      files.push_back(leads(included, file.parent_path()));
      add(files.back(), false);
    }
  }
  return out;
}

}  // namespace lares::sandbox
