#include "sandbox/kept_paths.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "sandbox/control_paths.h"

namespace lares::sandbox {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kConfigsMax = 512;
constexpr std::size_t kPointerBytes = 8192;  // of a .git file, commondir
constexpr int kDepthMax = 6;                 // of modules in modules

std::string first_line(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_regular_file(path, failed)) return {};
  std::ifstream file(path);
  std::string line(kPointerBytes, '\0');
  file.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<std::size_t>(file.gcount()));
  return line.substr(0, line.find_first_of("\r\n"));
}

// The git directories that `path`, a .git of any kind, leads to.
std::vector<fs::path> git_dirs(const fs::path& path) {
  std::error_code failed;
  fs::path dir = path;
  if (!fs::is_directory(dir, failed)) {
    const auto line = first_line(path);
    if (!line.starts_with("gitdir: ")) return {};
    dir = path.parent_path() / line.substr(8);
  }
  std::vector<fs::path> out = {dir};
  if (const auto common = first_line(dir / "commondir"); !common.empty())
    out.push_back(dir / common);
  return out;
}

void add_configs(const fs::path& dir, int depth, std::vector<std::string>& out) {
  if (depth == 0 || out.size() > kConfigsMax) return;
  out.push_back(dir / "config");
  out.push_back(dir / "config.worktree");
  std::error_code failed;
  for (fs::directory_iterator at(dir / "worktrees", failed), end; !failed && at != end;
       at.increment(failed))
    out.push_back(at->path() / "config.worktree");
  failed.clear();
  // A submodule's name may have slashes: what has no configuration is a part of one.
  for (fs::recursive_directory_iterator at(dir / "modules", failed), end;
       !failed && at != end && out.size() <= kConfigsMax; at.increment(failed)) {
    std::error_code none;
    if (!at->is_directory(none) || at->is_symlink(none)) continue;
    if (at.depth() >= kDepthMax || fs::exists(at->path() / "config", none)) {
      at.disable_recursion_pending();
      add_configs(at->path(), depth - 1, out);
    }
  }
}

std::int64_t ns(const statx_timestamp& t) { return t.tv_sec * 1'000'000'000ll + t.tv_nsec; }

}  // namespace

bool id_of_kept(const std::string& path, KeptId& out) {
  struct statx status {};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME,
              &status) != 0)
    return false;
  // A new file may have the number of one that is gone, and a directory changes with every entry.
  const auto when = S_ISDIR(status.stx_mode) ? status.stx_btime : status.stx_ctime;
  out = {makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino, ns(when)};
  return true;
}

std::map<std::string, KeptId> kept_paths(const std::string& root,
                                         const std::vector<std::string>& readonly) {
  std::vector<std::string> all;
  for (const char* name : kObeyedOutside) {
    std::error_code failed;
    // Of a link what it leads to is covered.
    if (auto target = fs::canonical(root + "/" + name, failed).native(); !failed)
      all.push_back(std::move(target));
  }
  all.insert(all.end(), readonly.begin(), readonly.end());
  std::vector<fs::path> dirs = git_dirs(root + "/.git");
  for (const auto& path : readonly)
    for (auto& dir : git_dirs(path)) dirs.push_back(std::move(dir));
  std::vector<std::string> configs;
  for (const auto& dir : dirs) add_configs(dir, kDepthMax, configs);
  all.insert(all.end(), configs.begin(), configs.end());
  std::map<std::string, KeptId> out;
  for (auto& path : all) {
    KeptId id;
    if (id_of_kept(path, id)) out.emplace(std::move(path), id);
  }
  return out;
}

}  // namespace lares::sandbox
