// A root directory under construction. Every place is found by descriptor and without following
// links a command could have made, and nothing is ever created on the host: missing places appear
// only in private file systems.
#pragma once

#include <sys/mount.h>

#include <initializer_list>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/launcher/identity.h"
#include "sandbox/launcher/sys.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

inline constexpr const char* kOwnDescriptors = "/proc/self/fd";
inline constexpr unsigned kPlain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
inline constexpr unsigned kReadOnly = MOUNT_ATTR_RDONLY | kPlain;

// A new file system, not attached anywhere. With `must`, failure ends the launcher.
Fd make_fs(const char* type, std::initializer_list<std::pair<const char*, const char*>> options,
           unsigned attributes, bool must = true);
Fd tmpfs(const char* mode, const char* size, unsigned attributes);

class View {
 public:
  // Starts as the host's whole tree, read-only.
  static View of_host();
  // The one that we are in, as become_root() or bubblewrap left it: for covers that come later.
  // `descriptors`: our own /proc/self/fd, opened outside, for inside we are no process.
  static View of_sandbox(Fd descriptors);

  // O_PATH; no symbolic links on the way. Not there: an empty Fd and errno.
  Fd at(const std::string& path, uint64_t flags) const;
  // The same for paths of the system's own, where links are the distribution's (/var/mail, /home).
  Fd at_system(const std::string& path, uint64_t flags) const;
  // What `path` leads to when links are followed inside the view; "" when nowhere.
  std::string resolve(const std::string& path) const;

  // Makes `path` a directory that can be mounted on. Where the user may not pass an ancestor, that
  // becomes a private one.
  void make_dir(const std::string& path);
  // Of what lies at `path`, with all that is mounted below it.
  Fd clone(const std::string& path) const;
  void put(Fd tree, const std::string& path);
  void put(Fd tree, const Fd& target, const std::string& name);
  // Puts a layer over the mount at `path`, in which what is written below it is kept in `store`, a
  // directory yet to be made in a private file system of this view. False: the kernel makes none.
  bool put_layer(const std::string& path, const std::string& store);
  void remove(const std::string& path);  // what is mounted there
  void set(const Fd& target, unsigned attributes, bool recursive, const std::string& name);

  void make_masks(const Identity& identity, const Spec& spec);
  void pin(const std::string& path);  // a mount point of its own: cannot be renamed or removed
  // Nothing where there is nothing.
  void cover_read_only(const std::string& path);
  void cover_empty(const std::string& path);  // a file or a directory
  bool is_empty_cover(const std::string& path) const;
  bool is_read_only(const std::string& path) const;

  // Git configurations that hold credentials, shown without them. make_masks() has read them,
  // before anything was covered.
  void cover_credentials();
  // Those that hold some again, in a view that is in use; of the git directories too that are among
  // `asked` or hold one of these.
  void cover_new_credentials(const Spec& spec, const std::vector<std::string>& asked);

  void become_root();

 private:
  View(Fd root, Fd descriptors, std::string at)
      : root_(std::move(root)), descriptors_(std::move(descriptors)), at_(std::move(at)) {}
  // What goes before it is covered needs no cover; what comes in its place does.
  void cover(const std::string& path, const std::function<Fd(const Fd& target)>& with);
  Fd clone(const Fd& from, const std::string& name) const;
  Fd to_cover(const std::string& path) const;

  Fd root_, descriptors_;
  std::string at_;  // where we see the root, "" when it is ours
  std::vector<std::pair<std::string, std::string>> scrubbed_;  // path, name of its mask
};

}  // namespace lares::sandbox::launcher
