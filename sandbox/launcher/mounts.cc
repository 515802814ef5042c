#include "sandbox/launcher/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "sandbox/launcher/git.h"

namespace lares::sandbox::launcher {
namespace {

// The view is assembled on a directory every system has; the new mount namespace keeps that to
// itself.
constexpr const char* kScaffold = "/tmp";
constexpr const char* kMasks = "/run/lares";
constexpr std::size_t kPasswdBytesMax = 1 << 20;
constexpr int kVanishedMax = 16;  // times that what is to be covered goes before it is

bool moved(const Fd& tree, const Fd& target) {
  return ::move_mount(tree.get(), "", target.get(), "",
                      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0;
}

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Field `n` of a line of /etc/passwd or /etc/group, from 0.
std::string field(const std::string& line, int n) {
  std::size_t begin = 0;
  for (; n > 0 && begin != line.npos; --n)
    if ((begin = line.find(':', begin)) != line.npos) ++begin;
  return begin == line.npos ? "" : line.substr(begin, line.find(':', begin) - begin);
}

// `file` (passwd or group) with `entry` as the line for the sandbox's own number; "" when it has
// one already that will do. One with another home directory will not: Java for one goes by it, and
// the host's user of that number may be anybody.
std::string with_entry(const char* file, unsigned id, const std::string& entry) {
  constexpr int kId = 2, kHome = 5;
  const Fd fd(::open(file, O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  const auto text = read_file(fd.get(), kPasswdBytesMax);
  if (text.size() == kPasswdBytesMax) return {};
  std::string others;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    const auto line = text.substr(begin, end - begin);
    begin = end + 1;
    if (field(line, kId) != std::to_string(id))
      others += line + "\n";
    else if (field(line, kHome) == field(entry, kHome))
      return {};
  }
  return entry + "\n" + others;
}

void make_mask(const Fd& masks, const char* name, const std::string& text) {
  const Fd file(::openat(masks.get(), name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444));
  if (!file || !write_all(file.get(), text)) fail_errno("mounts", "write the mask {}", name);
}

}  // namespace

Fd make_fs(const char* type, std::initializer_list<std::pair<const char*, const char*>> options,
           unsigned attributes, bool must) {
  const Fd context(::fsopen(type, FSOPEN_CLOEXEC));
  bool fine = static_cast<bool>(context);
  for (const auto& [key, value] : options)
    fine = fine && ::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value, 0) == 0;
  fine = fine && ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
  Fd mount(fine ? ::fsmount(context.get(), FSMOUNT_CLOEXEC, attributes) : -1);
  if (!mount && must) fail_errno("mounts", "make a new {}", type);
  return mount;
}

Fd tmpfs(const char* mode, const char* size, unsigned attributes) {
  return make_fs("tmpfs", {{"mode", mode}, {"size", size}, {"nr_inodes", "200k"}}, attributes);
}

View View::of_host() {
  Fd tree(::open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (!tree) fail_errno("mounts", "clone the root file system");
  mount_attr attr{};
  attr.attr_set = kReadOnly;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) != 0)
    fail_errno("mounts", "make the root file system read-only");
  if (::move_mount(tree.get(), "", AT_FDCWD, kScaffold, MOVE_MOUNT_F_EMPTY_PATH) != 0)
    fail_errno("mounts", "mount the new root on {}", kScaffold);
  Fd root(openat2(AT_FDCWD, kScaffold, O_PATH | O_DIRECTORY, 0));
  Fd descriptors(openat2(AT_FDCWD, kOwnDescriptors, O_PATH | O_DIRECTORY, 0));
  if (!root || !descriptors) fail_errno("mounts", "open the new root");
  return View(std::move(root), std::move(descriptors), kScaffold);
}

View View::of_sandbox(Fd descriptors) {
  Fd root(openat2(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0));
  if (!root || !descriptors) fail_errno("mounts", "open the root");
  return View(std::move(root), std::move(descriptors), "");
}

Fd View::at(const std::string& path, uint64_t flags) const {
  return Fd(openat2(root_.get(), path.c_str(), flags | O_PATH,
                    RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS));
}

Fd View::at_system(const std::string& path, uint64_t flags) const {
  return Fd(
      openat2(root_.get(), path.c_str(), flags | O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS));
}

std::string View::resolve(const std::string& path) const {
  const Fd found = at_system(path, 0);
  if (!found) return {};
  char name[PATH_MAX];
  const auto n = ::readlinkat(descriptors_.get(), std::to_string(found.get()).c_str(), name,
                              sizeof name);
  const std::string_view text(name, n > 0 ? static_cast<std::size_t>(n) : 0);
  if (!text.starts_with(at_) || text.size() <= at_.size() || text[at_.size()] != '/') return {};
  return std::string(text.substr(at_.size()));
}

void View::make_dir(const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const auto prefix = path.substr(0, end);
    const auto parent = parent_of(prefix);
    Fd there = at(prefix, O_DIRECTORY);
    if (!there && errno == EACCES)
      put(tmpfs("0755", "1m", kPlain), parent);
    else if (!there && errno != ENOENT)
      fail_errno("mounts", "open {} for mounting", prefix);
    if (!there) {
      const Fd dir = at(parent, O_DIRECTORY);
      if (!dir || ::mkdirat(dir.get(), prefix.c_str() + prefix.rfind('/') + 1, 0755) != 0)
        fail_errno("mounts", "make the directory {} in the private view", prefix);
    }
    if (end == path.npos) return;
  }
}

void View::put(Fd tree, const std::string& path) {
  const Fd target = at(path, 0);
  if (!target) fail_errno("mounts", "open {} for mounting", path);
  put(std::move(tree), target, path);
}

void View::put(Fd tree, const Fd& target, const std::string& name) {
  if (!moved(tree, target)) fail_errno("mounts", "mount on {}", name);
}

bool View::put_layer(const std::string& path, const std::string& store) {
  make_dir(store + "/upper");
  make_dir(store + "/work");
  const Fd lower = at(path, O_DIRECTORY), upper = at(store + "/upper", O_DIRECTORY),
           work = at(store + "/work", O_DIRECTORY);
  const Fd context(::fsopen("overlay", FSOPEN_CLOEXEC));
  bool fine = lower && upper && work && context;
  // By descriptor: paths would have to be escaped, and lie below the scaffold.
  for (const auto& [key, fd] :
       {std::pair("lowerdir", &lower), std::pair("upperdir", &upper), std::pair("workdir", &work)})
    fine = fine && ::fsconfig(context.get(), FSCONFIG_SET_STRING, key,
                              fmt::format("/proc/self/fd/{}", fd->get()).c_str(), 0) == 0;
  // Not trusted.*, which only the host's root may write.
  fine = fine && ::fsconfig(context.get(), FSCONFIG_SET_FLAG, "userxattr", nullptr, 0) == 0 &&
         ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
  Fd layer(fine ? ::fsmount(context.get(), FSMOUNT_CLOEXEC, kPlain) : -1);
  if (!layer) return false;
  put(std::move(layer), lower, path);
  return true;
}

void View::remove(const std::string& path) {
  const Fd target = at(path, 0);
  // By way of our own descriptors, which later views have only by their directory.
  if (!target || ::fchdir(descriptors_.get()) != 0 ||
      ::umount2(std::to_string(target.get()).c_str(), MNT_DETACH) != 0)
    fail_errno("mounts", "take away what is mounted on {}", path);
}

void View::set(const Fd& target, unsigned attributes, bool recursive, const std::string& name) {
  mount_attr attr{};
  attr.attr_set = attributes;
  if (!target || ::mount_setattr(target.get(), "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0),
                                 &attr, sizeof attr) != 0)
    fail_errno("mounts", "set the mount attributes of {}", name);
}

Fd View::clone(const std::string& path) const { return clone(at(path, 0), path); }

Fd View::clone(const Fd& from, const std::string& name) const {
  Fd tree(from ? ::open_tree(from.get(), "",
                             AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)
               : -1);
  if (!tree) fail_errno("mounts", "clone {}", name);
  return tree;
}

void View::make_masks(const Identity& identity, const Spec& spec) {
  const auto home = spec.home.empty() ? std::string("/tmp/home") : spec.home;
  const auto passwd = with_entry("/etc/passwd", identity.inside_uid,
                                 fmt::format("user:x:{}:{}:sandbox user:{}:/bin/sh",
                                             identity.inside_uid, identity.inside_gid, home));
  const auto group = with_entry("/etc/group", identity.inside_gid,
                                fmt::format("user:x:{}:", identity.inside_gid));
  Fd masks = tmpfs("0755", "16m", kPlain);
  const auto add = [&](const char* name, const std::string& text) { make_mask(masks, name, text); };
  add("empty", "");
  add("passwd", passwd);
  add("group", group);
  for (const auto& [path, text] : configs_without_credentials(*this, spec, identity.sources)) {
    scrubbed_.emplace_back(path, fmt::format("config-{}", scrubbed_.size()));
    add(scrubbed_.back().second.c_str(), text);
  }
  if (::mkdirat(masks.get(), "empty.d", 0555) != 0) fail_errno("mounts", "make the mask empty.d");
  make_dir(kMasks);
  put(std::move(masks), kMasks);
  set(at(kMasks, O_DIRECTORY), kReadOnly, false, kMasks);
  for (const auto& [text, name] : {std::pair(&passwd, "passwd"), std::pair(&group, "group")})
    if (!text->empty() && at(fmt::format("/etc/{}", name), 0))
      put(clone(fmt::format("{}/{}", kMasks, name)), fmt::format("/etc/{}", name));
}

void View::pin(const std::string& path) {
  const Fd target = at(path, 0);
  put(clone(target, path), target, path);
}

// An empty Fd where there is nothing to protect, or nothing that can be reached.
Fd View::to_cover(const std::string& path) const {
  Fd target = at(path, 0);
  if (!target && errno != ENOENT && errno != ENOTDIR && errno != EACCES)
    fail_errno("mounts", "open {} to cover it", path);
  return target;
}

void View::cover_read_only(const std::string& path) {
  cover(path, [&](const Fd& target) {
    Fd tree = clone(target, path);
    set(tree, kReadOnly, true, path);
    return tree;
  });
}

void View::cover_empty(const std::string& path) {
  cover(path, [&](const Fd& target) {
    struct stat status;
    if (::fstat(target.get(), &status) != 0) fail_errno("mounts", "look at {} to hide it", path);
    return clone(fmt::format("{}/{}", kMasks, S_ISDIR(status.st_mode) ? "empty.d" : "empty"));
  });
}

void View::cover(const std::string& path, const std::function<Fd(const Fd& target)>& with) {
  for (int i = 0; i < kVanishedMax; ++i) {
    const Fd target = to_cover(path);
    if (!target || moved(with(target), target)) return;
    if (errno != ENOENT) break;  // gone: what is in its place now is to be covered
  }
  fail_errno("mounts", "mount on {}", path);
}

bool View::is_empty_cover(const std::string& path) const {
  const Fd place = at(path, 0), masks = at(kMasks, O_DIRECTORY);
  struct stat ours, theirs;
  return place && masks && ::fstat(place.get(), &theirs) == 0 && ::fstat(masks.get(), &ours) == 0 &&
         theirs.st_dev == ours.st_dev;
}

bool View::is_read_only(const std::string& path) const {
  const Fd place = at(path, 0);
  struct statvfs status;
  return place && ::fstatvfs(place.get(), &status) == 0 && (status.f_flag & ST_RDONLY) != 0;
}

void View::cover_credentials() {
  for (const auto& [path, mask] : scrubbed_) put(clone(fmt::format("{}/{}", kMasks, mask)), path);
}

void View::cover_new_credentials(const Spec& spec, const std::vector<std::string>& asked) {
  std::vector<Source> dirs;
  for (auto& path : linked_git_dirs(spec.root)) dirs.push_back({std::move(path), Fd()});
  for (const auto& path : asked) {
    dirs.push_back({path, Fd()});
    dirs.push_back({parent_of(path), Fd()});
  }
  const auto found = configs_without_credentials(*this, spec, dirs);
  if (found.empty()) return;
  const Fd masks = tmpfs("0755", "16m", kPlain);
  for (std::size_t i = 0; i < found.size(); ++i)
    make_mask(masks, std::to_string(i).c_str(), found[i].second);
  // Over the others, for as long as it takes to clone from them.
  put(Fd(::fcntl(masks.get(), F_DUPFD_CLOEXEC, 0)), kMasks);
  set(at(kMasks, O_DIRECTORY), kReadOnly, false, kMasks);
  for (std::size_t i = 0; i < found.size(); ++i)
    put(clone(fmt::format("{}/{}", kMasks, i)), found[i].first);
  remove(kMasks);
}

void View::become_root() {
  if (::fchdir(root_.get()) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0)
    fail_errno("mounts", "pivot_root");
  if (::umount2(".", MNT_DETACH) != 0) fail_errno("mounts", "let go of the host's root");
  if (::chdir("/") != 0) fail_errno("mounts", "enter the new root");
}

}  // namespace lares::sandbox::launcher
