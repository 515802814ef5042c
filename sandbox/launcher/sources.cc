#include "sandbox/launcher/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "sandbox/host_sockets.h"
#include "sandbox/launcher/toolchains.h"

namespace lares::sandbox::launcher {
namespace {

constexpr std::size_t kPointerBytesMax = 8192;  // of a .git file, commondir, ...

constexpr uint64_t kNoLinks = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

std::string first_line(const std::string& path) {
  const Fd file(openat2(AT_FDCWD, path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY, 0));
  struct stat status;
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  auto text = read_file(file.get(), kPointerBytesMax);
  text.resize(std::min(text.find('\n'), text.size()));
  return text;
}

std::string real(const std::string& path) {
  char* found = ::realpath(path.c_str(), nullptr);
  std::string out = found ? found : "";
  ::free(found);
  return out;
}

std::string absolute(const std::string& path, const std::string& base) {
  return real(!path.empty() && path[0] == '/' ? path : base + "/" + path);
}

bool is_dir(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

bool below(const std::string& path, const std::string& top) {
  return path == top || (path.starts_with(top) && path[top.size()] == '/');
}

// A submodule's git directory has no back pointer file, but its config names the worktree.
bool config_names(const std::string& git_dir, const std::string& root) {
  const Fd file(openat2(AT_FDCWD, (git_dir + "/config").c_str(), O_RDONLY | O_NONBLOCK, 0));
  if (!file) return false;
  const auto text = read_file(file.get(), 65536);
  for (std::size_t at = text.find("worktree"); at != text.npos;
       at = text.find("worktree", at + 1)) {
    auto begin = text.find_first_not_of(" \t", at + 8);
    if (begin == text.npos || text[begin] != '=') continue;
    begin = text.find_first_not_of(" \t", begin + 1);
    if (begin == text.npos) continue;
    if (absolute(text.substr(begin, text.find('\n', begin) - begin), git_dir) == root) return true;
  }
  return false;
}

Fd clone(int fd, const Fd& idmap) {
  Fd tree(::open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (!tree || !idmap) return tree;
  mount_attr attr{};
  attr.attr_set = MOUNT_ATTR_IDMAP;
  attr.userns_fd = static_cast<uint64_t>(idmap.get());
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) != 0)
    return Fd();
  return tree;
}

Fd read_only(Fd tree) {
  mount_attr attr{};
  attr.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (!tree ||
      ::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) != 0)
    return Fd();
  return tree;
}

}  // namespace

std::vector<std::string> linked_git_dirs(const std::string& root) {
  struct stat status;
  const auto pointer = root + "/.git";
  if (::lstat(pointer.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  const auto line = first_line(pointer);
  if (!line.starts_with("gitdir: ")) return {};
  const auto git_dir = absolute(line.substr(8), root);
  if (git_dir.empty() || below(root, git_dir) || !is_dir(git_dir)) return {};
  if (absolute(first_line(git_dir + "/gitdir"), git_dir) != pointer && !config_names(git_dir, root))
    return {};
  std::vector<std::string> out;
  if (!below(git_dir, root)) out.push_back(git_dir);
  const auto to_common = first_line(git_dir + "/commondir");
  if (to_common.empty()) return out;
  const auto common = absolute(to_common, git_dir);
  // Git itself keeps the one below the other: <common>/worktrees/<name>.
  if (common.empty() || !git_dir.starts_with(common + "/worktrees/") ||
      !is_dir(common + "/objects") || !is_dir(common + "/refs"))
    return {};
  if (!below(common, root) && !below(root, common)) out.insert(out.begin(), common);
  return out;
}

std::vector<Source> collect_sources(const Spec& spec, const Fd& idmap) {
  std::vector<Source> out;
  const Fd root(openat2(AT_FDCWD, spec.root.c_str(), O_PATH | O_DIRECTORY, kNoLinks));
  if (!root) return out;
  Fd worktree = clone(root.get(), idmap);
  mount_attr attr{};
  attr.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                  (spec.worktree_readonly ? MOUNT_ATTR_RDONLY : 0);
  if (!worktree ||
      ::mount_setattr(worktree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) != 0)
    return out;
  out.push_back({spec.root, std::move(worktree)});
  for (const auto& path : linked_git_dirs(spec.root)) {
    const Fd dir(openat2(AT_FDCWD, path.c_str(), O_PATH | O_DIRECTORY, kNoLinks));
    if (Fd tree = dir ? read_only(clone(dir.get(), idmap)) : Fd())
      out.push_back({path, std::move(tree)});
  }
  const Fd home(spec.home.empty()
                    ? -1
                    : openat2(AT_FDCWD, spec.home.c_str(), O_PATH | O_DIRECTORY, kNoLinks));
  for (const auto& one : home ? toolchains(spec) : std::vector<Toolchain>()) {
    const Fd dir(
        openat2(home.get(), one.path.c_str(), O_PATH | O_DIRECTORY, kNoLinks | RESOLVE_BENEATH));
    if (!dir) continue;
    // What is root's must look like the command's own to be written in a layer above it.
    const bool layered = one.kind != Toolchain::Kind::programs;
    Fd tree = layered && idmap ? read_only(clone(dir.get(), idmap)) : Fd();
    if (!tree) tree = read_only(clone(dir.get(), Fd()));
    if (tree) out.push_back({spec.home + "/" + one.path, std::move(tree), one.kind});
  }
  return out;
}

std::vector<std::string> host_socket_paths() {
  std::vector<std::string> out;
  for (auto& one : host_sockets()) out.push_back(std::move(one.path));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace lares::sandbox::launcher
