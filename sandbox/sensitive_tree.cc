#include "sandbox/sensitive_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "sandbox/secret_names.h"
#include "sandbox/start.h"

namespace lares::sandbox {
namespace {

// a stamp younger than this may hide a change of the same clock tick
constexpr std::int64_t kSettleNs = 20'000'000;
// Built or fetched by tools, large, and full of test keys.
constexpr std::array<std::string_view, 7> kSkipped = {"node_modules", "target", ".venv", "venv",
                                                      "__pycache__",  ".tox",   ".cache"};

std::int64_t ns(const timespec& t) { return t.tv_sec * 1'000'000'000ll + t.tv_nsec; }

std::string join(const std::string& dir, std::string_view name) {
  return dir.empty() ? std::string(name) : fmt::format("{}/{}", dir, name);
}

bool vanished(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ESTALE;
}

// Takes what fs calls a directory stream, and gives it back.
struct Stream {
  explicit Stream(int fd) : dir(fd < 0 ? nullptr : ::fdopendir(fd)) {
    if (!dir && fd >= 0) ::close(fd);
  }
  Stream(const Stream&) = delete;
  ~Stream() {
    if (dir) ::closedir(dir);
  }
  DIR* dir;
};

class Follower {
 public:
  Follower(int root, const std::string& root_path, const SensitiveLimits& limits,
           SensitiveTree& tree)
      : root_(root), root_path_(root_path), limits_(limits), tree_(tree) {}

  // Those whose stamp is another. Gone: with all below.
  void find_changed() {
    tree_.directories.try_emplace("");
    std::vector<std::string> gone;
    for (auto& [path, known] : tree_.directories) {
      struct stat status {};
      const bool seen = ::fstatat(root_, path.empty() ? "." : path.c_str(), &status,
                                  AT_SYMLINK_NOFOLLOW) == 0;
      const bool here = seen ? S_ISDIR(status.st_mode) : !vanished(errno);
      if (!here && !path.empty())
        gone.push_back(path);
      else if (!seen || known.changed_ns == 0 || known.changed_ns != ns(status.st_ctim) ||
               known.inode != status.st_ino || known.device != status.st_dev)
        todo_.push_back(path);
    }
    for (const auto& path : gone) forget(path);
  }

  Result<> read_changed(const SensitivePaths::Cancelled& cancelled) {
    while (!todo_.empty()) {
      if (cancelled)
        return tl::unexpected(Error{Errc::cancelled, "the search for secrets was cancelled"});
      const auto path = std::move(todo_.back());
      todo_.pop_back();
      if (auto read = read_directory(path); !read) return read;
    }
    return {};
  }

 private:
  auto drop(std::map<std::string, SensitiveTree::Directory>::iterator at) {
    tree_.n_entries -= at->second.n_entries;
    return tree_.directories.erase(at);
  }
  void forget_below(const std::string& path) {
    for (auto at = tree_.directories.lower_bound(path + "/");
         at != tree_.directories.end() && at->first.starts_with(path + "/");)
      at = drop(at);
  }
  void forget(const std::string& path) {
    if (const auto at = tree_.directories.find(path); at != tree_.directories.end()) drop(at);
    forget_below(path);
  }

  Error failed(const std::string& path, int error) const {
    return {Errc::broken,
            fmt::format("look for secrets in {}: {}; commands wait until it can be "
                        "read",
                        path.empty() ? root_path_ : join(root_path_, path), ::strerror(error))};
  }

  Result<> read_directory(const std::string& path) {
    const auto known = tree_.directories.find(path);
    if (known == tree_.directories.end()) return {};  // it went together with one above
    const int fd = ::openat(root_, path.empty() ? "." : path.c_str(),
                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int error = fd < 0 ? errno : 0;
    struct stat status {};
    if (fd < 0 && !vanished(error) &&
        ::fstatat(root_, path.empty() ? "." : path.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      error = errno;
    const Stream stream(fd);
    if (fd >= 0 && (!stream.dir || ::fstat(fd, &status) != 0)) error = errno;
    // Without the right to pass it the files in it cannot be looked at.
    if (error == 0 && ::faccessat(fd, ".", X_OK, AT_EACCESS) != 0) error = errno;
    if (vanished(error) && !path.empty()) {
      forget(path);
      return {};
    }
    timespec now;
    ::clock_gettime(CLOCK_REALTIME, &now);
    SensitiveTree::Directory fresh{.device = status.st_dev, .inode = status.st_ino};
    const bool denied = error == EACCES || error == EPERM;
    if ((error != 0 && !denied) || (denied && path.empty()))
      return tl::unexpected(failed(path, error));
    fresh.out_of_sight = denied && may_be_reached(path, status.st_uid);
    std::vector<std::string> children;
    if (!denied)
      if (auto read = read_entries(stream.dir, path, fresh, children); !read) return read;
    if (fresh.own) {
      fresh.noted.clear();
      children.clear();
      forget_below(path);
    }
    const auto changed = ns(status.st_ctim);
    fresh.changed_ns = changed + kSettleNs > ns(now) ? 0 : changed;
    for (const auto& name : children)
      if (auto child = join(path, name); tree_.directories.try_emplace(child).second)
        todo_.push_back(std::move(child));
    tree_.n_entries += fresh.n_entries - known->second.n_entries;
    known->second = std::move(fresh);
    return {};
  }

  // A directory that we may not read, by who runs commands: that is us, or for root the worktree's
  // owner. Its owner could give the right back; who may pass it reaches what has a known name.
  bool may_be_reached(const std::string& path, uid_t owner) const {
    return ::geteuid() == 0 || owner == ::geteuid() ||
           ::faccessat(root_, path.c_str(), X_OK, AT_EACCESS) == 0;
  }

  Result<> read_entries(DIR* dir, const std::string& path, SensitiveTree::Directory& out,
                        std::vector<std::string>& children) {
    const auto n_elsewhere = tree_.n_entries - tree_.directories.at(path).n_entries;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(dir);
      if (!entry && errno != 0 && !vanished(errno)) return tl::unexpected(failed(path, errno));
      if (!entry) break;
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      out.own |= name == kOwnMark && !path.empty();
      if (n_elsewhere + ++out.n_entries > limits_.entries_max)
        return tl::unexpected(Error{
            Errc::refused,
            fmt::format("look for secrets in {}: more than {} files and directories (entries_max), "
                        "so some could not be hidden; work in a smaller directory of it",
                        root_path_, limits_.entries_max)});
      unsigned char type = entry->d_type;
      struct stat status;
      if (type == DT_UNKNOWN) {
        if (::fstatat(::dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0)
          type = static_cast<unsigned char>(IFTODT(status.st_mode));
        else if (!vanished(errno))
          return tl::unexpected(failed(join(path, name), errno));
      }
      if (type == DT_DIR) {
        if (auto noted = note_directory(::dirfd(dir), path, name, out, children); !noted)
          return noted;
      } else {
        note_file(path, name, type, out);
      }
    }
    return {};
  }

  Result<> note_directory(int dir, const std::string& path, std::string_view name,
                          SensitiveTree::Directory& out, std::vector<std::string>& children) {
    using enum Noted::Kind;
    if (name == ".git") {
      if (!path.empty()) out.noted.push_back({git, std::string(name)});
    } else if (is_secret_directory(name)) {
      out.noted.push_back({secret, std::string(name)});
    } else if (std::ranges::find(kSkipped, name) != kSkipped.end()) {
      const auto below = fmt::format("{}/.git", name);
      struct stat status;
      if (::fstatat(dir, below.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0)
        out.noted.push_back({git, below});
    } else if (root_path_.size() + path.size() + name.size() + 2 > limits_.path_bytes_max) {
      return tl::unexpected(
          Error{Errc::refused,
                fmt::format("look for secrets in {}: it has directories with paths of more than {} "
                            "bytes (path_bytes_max), in which nothing can be hidden: {}...; remove "
                            "them, or work in another directory",
                            root_path_, limits_.path_bytes_max, join(path, name).substr(0, 100))});
    } else {
      children.emplace_back(name);
    }
    return {};
  }

  void note_file(const std::string& path, std::string_view name, unsigned char type,
                 SensitiveTree::Directory& out) {
    using enum Noted::Kind;
    const auto note = [&](Noted::Kind kind) { out.noted.push_back({kind, std::string(name)}); };
    if (type == DT_SOCK) return note(socket);
    if (type == DT_FIFO) return note(fifo);
    if (type != DT_REG && type != DT_LNK) return;
    if (name == ".git" && type == DT_REG) {
      if (!path.empty()) note(git);
      return note(git_file);
    }
    const auto says = secret_name(name);
    if (type == DT_LNK) {
      if (says == SecretName::yes || is_secret_directory(name)) note(link);
    } else if (says != SecretName::no) {
      note(says == SecretName::yes ? secret : by_text);
    }
  }

  const int root_;
  const std::string& root_path_;
  const SensitiveLimits& limits_;
  SensitiveTree& tree_;
  std::vector<std::string> todo_;
};

}  // namespace

Result<> follow(int root, const std::string& root_path, const SensitiveLimits& limits,
                const SensitivePaths::Cancelled& cancelled, SensitiveTree& tree) {
  Follower follower(root, root_path, limits, tree);
  follower.find_changed();
  return follower.read_changed(cancelled);
}

}  // namespace lares::sandbox
