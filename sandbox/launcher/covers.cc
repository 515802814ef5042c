#include "sandbox/launcher/covers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <set>

#include "sandbox/control_paths.h"

namespace lares::sandbox::launcher {
namespace {

constexpr int kDepthMax = 6;  // of the walk below /etc
constexpr std::size_t kMaskedMax = 1024;

bool below(const std::string& path, const std::string& top) {
  return path.size() > top.size() && path.starts_with(top) && path[top.size()] == '/';
}

enum class Kind { read_only, hidden };

// Finds what `path` really is and notes it. Absent: nothing to protect.
void note(std::map<std::string, Kind>& covers, const View& view, const Spec& spec,
          const std::string& path, Kind kind) {
  std::string target = path;
  if (!view.at(path, 0)) {
    if (errno == ENOENT || errno == ENOTDIR || errno == EACCES) return;
    if (errno != ELOOP) fail_errno("mounts", "look at {} to cover it", path);
    target = view.resolve(path);
    if (target.empty()) return;  // dangling
  }
  if (target == spec.root || below(spec.root, target))
    fail("policy", "{} is a link to {}, which holds the worktree; remove the link", path, target);
  // Outside the worktree all is read-only already.
  if (kind == Kind::read_only && !below(target, spec.root)) return;
  auto& now = covers.emplace(target, kind).first->second;
  if (kind == Kind::hidden) now = kind;
}

void walk(const View& view, const std::string& path, int depth, std::vector<std::string>& found) {
  const Fd place = view.at(path, O_DIRECTORY);
  if (!place) return;
  const int fd = ::openat(place.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd), ::closedir);
  if (!dir) {
    ::close(fd);
    return;
  }
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string name = entry->d_name;
    struct stat status;
    if (name == "." || name == ".." ||
        ::fstatat(fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    const auto full = path + "/" + name;
    const bool is_dir = S_ISDIR(status.st_mode), is_file = S_ISREG(status.st_mode);
    if (!is_dir && !is_file) continue;
    const bool for_all = (status.st_mode & (is_dir ? S_IXOTH : S_IROTH)) != 0;
    if (!for_all)
      found.push_back(full);
    else if (is_dir && depth > 1)
      walk(view, full, depth - 1, found);
    if (found.size() > kMaskedMax)
      fail("identity", "more than {} files below /etc and /var that only root may read",
           kMaskedMax);
  }
}

}  // namespace

void cover_worktree(View& view, const Spec& spec, const std::vector<std::string>& sockets) {
  std::map<std::string, Kind> covers;
  for (const char* name : kObeyedOutside)
    note(covers, view, spec, spec.root + "/" + name, Kind::read_only);
  for (const auto& path : spec.readonly) note(covers, view, spec, path, Kind::read_only);
  for (const auto& path : spec.hidden) note(covers, view, spec, path, Kind::hidden);
  for (const auto& path : sockets) {
    const Fd found = view.at(path, 0);
    struct stat status;
    if (found && ::fstat(found.get(), &status) == 0 && S_ISSOCK(status.st_mode))
      covers[path] = Kind::hidden;
  }
  // A covered path could be moved away together with a directory above it, and built anew: so those
  // are mount points too.
  std::set<std::string> pins;
  for (const auto& [path, kind] : covers) {
    if (!below(path, spec.root)) continue;
    for (auto slash = path.rfind('/'); slash > spec.root.size(); slash = path.rfind('/', slash - 1))
      pins.insert(path.substr(0, slash));
  }
  for (const auto& path : pins)
    if (!covers.contains(path)) view.pin(path);
  // In path order, so that what lies inside a cover is covered on top of it; inside a hidden one
  // there is nothing left.
  for (const auto& [path, kind] : covers) {
    if (kind == Kind::read_only)
      view.cover_read_only(path);
    else
      view.cover_empty(path);
  }
}

void cover_roots_files(View& view) {
  std::vector<std::string> found;
  walk(view, "/etc", kDepthMax, found);
  walk(view, "/var", 3, found);
  for (const auto& path : found) view.cover_empty(path);
}

}  // namespace lares::sandbox::launcher
