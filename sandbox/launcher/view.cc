#include "sandbox/launcher/view.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <initializer_list>

#include "sandbox/launcher/covers.h"
#include "sandbox/launcher/mounts.h"
#include "sandbox/launcher/private_places.h"

namespace lares::sandbox::launcher {
namespace {

// Of all empty directories together: they are of one file system, for each of its own would take
// 50 us.
constexpr const char* kEmpties = "/run/lares-empties";  // where those directories are made

// Of all layers above caches together.
constexpr const char* kLayers = "/run/lares-layers";
constexpr const char* kLayersSize = "1g";

Fd fs_of(const Private& place, const Spec& spec) {
  return tmpfs(place.mode, std::to_string(bytes_of(place, spec)).c_str(), kPlain);
}

bool below(const std::string& path, const std::string& top) {
  return path.size() > top.size() && path.starts_with(top) && path[top.size()] == '/';
}

bool holds_what_is_shown(const Spec& spec, const std::string& path) {
  return below(spec.root, path) || spec.home == path || below(spec.home, path);
}

void show_nothing_of(View& view, const std::string& path) {
  if (const Fd target = view.at_system(path, O_DIRECTORY))
    view.put(tmpfs("0755", std::to_string(kEmptiedBytes).c_str(), kPlain), target, path);
}

// Package managers and compilers write in their caches whatever they only read: what they write
// goes to memory, and with the sandbox. One after the other, for each is mounted on its directory.
void private_layers(View& view, const std::vector<Source>& sources) {
  using Kind = Toolchain::Kind;
  const auto layered = [](const Source& source) { return source.kind != Kind::programs; };
  if (std::none_of(sources.begin(), sources.end(), layered)) return;
  view.make_dir(kLayers);
  view.put(tmpfs("0755", kLayersSize, kPlain), kLayers);
  for (std::size_t i = 0; i < sources.size(); ++i)
    if (layered(sources[i]) && !view.put_layer(sources[i].path, fmt::format("{}/{}", kLayers, i)) &&
        sources[i].kind == Kind::cache)
      view.remove(sources[i].path);
  view.remove(kLayers);  // the layers keep what they need of it, out of everybody's reach
}

void private_places(View& view, const Spec& spec) {
  for (const auto& place : kPrivate) {
    const Fd target = view.at_system(place.path, O_DIRECTORY);
    if (target) view.put(fs_of(place, spec), target, place.path);
  }
  // Mounted for as long as that takes, for before Linux 6.15 nothing can be cloned from what is
  // not.
  view.make_dir(kEmpties);
  view.put(tmpfs("0755", std::to_string(kEmptiedBytes).c_str(), kPlain), kEmpties);
  for (std::size_t i = 0; i < kEmptied.size(); ++i) {
    const Fd target = view.at_system(kEmptied[i], O_DIRECTORY);
    if (!target) continue;
    const auto empty = fmt::format("{}/{}", kEmpties, i);
    view.make_dir(empty);
    view.put(view.clone(empty), target, kEmptied[i]);
  }
  view.remove(kEmpties);
  // Before the home directory and the worktree, which may lie in one of them.
  for (const auto& path : spec.emptied)
    if (holds_what_is_shown(spec, path)) show_nothing_of(view, path);
  const auto home = spec.home.empty() ? std::string("/tmp/home") : spec.home;
  view.make_dir(home);
  view.put(fs_of(kHome, spec), home);
}

void devices(View& view, const Spec& spec) {
  constexpr std::array kNodes = {"null", "zero", "full", "random", "urandom", "tty"};
  Fd dev = tmpfs("0755", "64k", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
  for (const char* node : kNodes)
    Fd(::openat(dev.get(), node, O_CREAT | O_WRONLY | O_CLOEXEC, 0444));
  for (const char* dir : {"shm", "pts", "mqueue"}) ::mkdirat(dev.get(), dir, 0755);
  for (const auto& [name, target] :
       std::initializer_list<std::pair<const char*, const char*>>{{"fd", "/proc/self/fd"},
                                                                  {"stdin", "/proc/self/fd/0"},
                                                                  {"stdout", "/proc/self/fd/1"},
                                                                  {"stderr", "/proc/self/fd/2"},
                                                                  {"ptmx", "pts/ptmx"}})
    (void)!::symlinkat(target, dev.get(), name);
  view.put(std::move(dev), "/dev");
  for (const char* node : kNodes) {
    const auto path = std::string("/dev/") + node;
    // From the host's /dev, which our own root still shows: the new one is mounted elsewhere until
    // pivot_root.
    Fd tree(::open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    if (!tree) fail_errno("mounts", "clone {}", path);
    view.put(std::move(tree), path);
  }
  view.put(fs_of(kSharedMemory, spec), kSharedMemory.path);
  // Terminals of our own, for programs that test with one; some kernels and containers refuse them,
  // and few miss them.
  if (Fd pts = make_fs("devpts", {{"ptmxmode", "0666"}, {"mode", "0600"}},
                       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, false))
    view.put(std::move(pts), "/dev/pts");
  // Of the namespace's own message queues: Landlock lets only those through that it can see.
  if (Fd queues = make_fs("mqueue", {}, kPlain | MOUNT_ATTR_NOEXEC, false))
    view.put(std::move(queues), "/dev/mqueue");
  view.set(view.at("/dev", O_DIRECTORY), MOUNT_ATTR_RDONLY, false, "/dev");
}

void proc(View& view) {
  Fd fs = make_fs("proc", {}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, false);
  if (!fs) fail_errno("proc", "mount a new /proc");
  view.put(std::move(fs), "/proc");
  // A process that is the host's root by number may write where root may, capabilities or not.
  for (const char* path : {"/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi",
                           "/proc/scsi", "/proc/sysrq-trigger"})
    view.cover_read_only(path);
  for (const char* path : {"/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/timer_list",
                           "/proc/sched_debug", "/proc/latency_stats", "/proc/kallsyms",
                           "/proc/kpagecount", "/proc/kpageflags", "/proc/config.gz"})
    view.cover_empty(path);
}

}  // namespace

void enter_view(const Spec& spec, Identity& identity, const std::vector<std::string>& sockets) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    fail_errno("mounts", "make all mounts private");
  if (identity.sources.empty()) identity.sources = collect_sources(spec, Fd());
  if (identity.sources.empty())
    fail_errno("policy", "open the worktree {} without following links", spec.root);

  View view = View::of_host();
  private_places(view, spec);
  // Whatever contains another goes first.
  std::sort(identity.sources.begin(), identity.sources.end(),
            [](const Source& a, const Source& b) { return a.path.size() < b.path.size(); });
  for (auto& source : identity.sources) {
    view.make_dir(source.path);
    view.put(std::move(source.tree), source.path);
  }
  private_layers(view, identity.sources);
  for (const auto& path : spec.emptied)
    if (!holds_what_is_shown(spec, path)) show_nothing_of(view, path);
  view.make_masks(identity, spec);
  cover_worktree(view, spec, sockets);
  view.cover_credentials();
  if (identity.roots_files) cover_roots_files(view);
  devices(view, spec);
  proc(view);
  view.become_root();
}

}  // namespace lares::sandbox::launcher
