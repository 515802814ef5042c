#include "tools/snapshot_restore.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>
#include <unordered_map>
#include <utility>

#include "tools/atomic_file.h"
#include "tools/git_view.h"
#include "tools/rooted_fs.h"

namespace lares::tools {
namespace {

using Still = SnapshotScanner::Still;
using Why = std::string;  // "" when done

constexpr const char* kChanged = "was changed by someone else meanwhile; it is left as it is now";

bool is_program(unsigned mode) { return (mode & 0100) != 0; }
bool is_private(unsigned mode) { return (mode & 0077) == 0; }

// The old file's permissions, as far as the snapshot says nothing else; git adds execution for those who may read, too.
mode_t permissions(mode_t was, unsigned mode) {
  if (is_private(mode)) was &= ~static_cast<mode_t>(0077);
  else if ((was & 0077) == 0) was |= 0044;
  return is_program(mode) ? was | 0100 | ((was & 0444) >> 2) : was & ~static_cast<mode_t>(0111);
}
mode_t new_permissions(unsigned mode) {
  return (is_program(mode) ? 0777 : 0666) & (is_private(mode) ? 0700 : 0777);
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }
std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

class Restorer {
 public:
  Restorer(const std::string& root, const SnapshotStore& store, const SnapshotScanner& present, const RestorePlan& plan, Restored& out)
      : root_(root), store_(store), present_(present), files_(present.files()), out_(out), target_(*plan.target) {
    for (const PathReason& file : target_.left_out) left_out_.insert(file.path);
  }

  // Rules before files, for they say which of the files that the snapshot does not have were there all the same. Removals
  // before writing, or a directory could not take a file's place.
  void run(const std::vector<TreeDelta>& deltas) {
    std::vector<const TreeDelta*> rules, removals, writes;
    for (const TreeDelta& delta : deltas) {
      if (base_name(delta.path) == ".gitignore") rules.push_back(&delta);
      else (delta.mode_after ? writes : removals).push_back(&delta);
    }
    for (const TreeDelta* delta : rules) apply(*delta);
    if (!rules.empty()) {
      auto git = GitView::open(root_);
      if (git) rules_ = std::make_unique<GitView>(std::move(*git));
    }
    for (const TreeDelta* delta : removals) apply(*delta);
    remove_empty_directories();
    for (const TreeDelta* delta : writes) apply(*delta);
    for (const auto& [path, fd] : touched_) {
      const Fd directory(::openat(fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (directory) (void)::fsync(directory.get());  // an error leaves files that are right but not yet durable
    }
    std::ranges::sort(out_.done, {}, &SnapshotChange::path);
    std::ranges::sort(out_.not_done, {}, &PathReason::path);
  }

 private:
  void apply(const TreeDelta& delta) {
    const Why why = names_git_directory(delta.path) ? Why("lies in a .git directory") : delta.mode_after ? write(delta) : remove(delta);
    if (why.empty()) out_.done.push_back(describe(store_, delta));
    else out_.not_done.push_back({delta.path, why});
  }

  Why remove(const TreeDelta& delta) {
    if (left_out_.contains(delta.path)) return "was there, but left out of the snapshot for its size or kind";
    if (target_.n_left_out > target_.left_out.size() || !target_.incomplete.empty()) {
      return "the snapshot does not name all that it left out, so nothing is removed; remove it by hand";
    }
    if (rules_ && rules_->has_repository() && rules_->ignored(delta.path, false)) {
      return "is ignored by the rules of then, so it may have been there; remove it by hand";
    }
    const Still still = present_.still(files_, delta.path);
    if (still == Still::gone) return "";
    if (still == Still::other) return kChanged;
    std::string name;
    const auto parent = files_.parent(delta.path, name);
    if (!parent) return why_not(parent.error());
    if (::unlinkat(parent->get(), name.c_str(), 0) != 0) return fmt::format("could not be removed: {}", std::strerror(errno));
    emptied_.insert(directory_of(delta.path));
    touch(directory_of(delta.path), *parent);
    return "";
  }

  // The deepest first; one that still holds something ends its own way up.
  void remove_empty_directories() {
    while (!emptied_.empty()) {
      const auto deepest = std::ranges::max_element(emptied_, {}, [](const std::string& path) { return std::ranges::count(path, '/'); });
      const std::string path = *deepest;
      emptied_.erase(deepest);
      std::string name;
      const auto parent = path.empty() ? tl::unexpected(ENOENT) : files_.parent(path, name);
      if (!parent || ::unlinkat(parent->get(), name.c_str(), AT_REMOVEDIR) != 0) continue;
      touched_.erase(path);
      touch(directory_of(path), *parent);
      emptied_.insert(directory_of(path));
    }
  }

  Why write(const TreeDelta& delta) {
    auto bytes = store_.blob(delta.after);
    if (!bytes) return bytes.error();
    std::string name;
    const auto parent = files_.make_parent(delta.path, name);
    if (!parent) return why_not(parent.error());
    struct stat st {};
    if (::fstatat(parent->get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
      return "a directory with files that no snapshot holds is in its place; move them away";
    }
    const bool was_there = S_ISREG(st.st_mode);
    const Why why = delta.mode_after == kModeLink ? write_link(delta, *bytes, *parent, name)
                                                  : write_file(delta, *bytes, *parent, name, was_there ? &st : nullptr);
    if (why.empty()) touch(directory_of(delta.path), *parent);
    return why;
  }

  Why write_link(const TreeDelta& delta, const std::string& target, const Fd& parent, const std::string& name) {
    const std::string temporary = temporary_name();
    if (::symlinkat(target.c_str(), parent.get(), temporary.c_str()) != 0) return could_not_write(errno);
    return put_in_place(delta, parent, temporary, name);
  }

  Why write_file(const TreeDelta& delta, const std::string& bytes, const Fd& parent, const std::string& name, const struct stat* was) {
    Temporary temporary = make_temporary(parent.get(), was ? 0600 : new_permissions(delta.mode_after));
    if (!temporary.fd) return could_not_write(errno);
    int error = write_all(temporary.fd.get(), bytes);
    if (!error && was) {
      const Fd old(::openat(parent.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      if (old) copy_xattrs(old.get(), temporary.fd.get());
      // Another owner's file stays theirs where we may do that; chown clears set-id bits, so the mode comes after it.
      (void)!::fchown(temporary.fd.get(), was->st_uid, was->st_gid);
      if (::fchmod(temporary.fd.get(), permissions(was->st_mode & 07777, delta.mode_after)) != 0) error = errno;
    }
    if (!error && ::fsync(temporary.fd.get()) != 0) error = errno;
    if (!error) error = give_name(parent.get(), temporary);
    if (error) {
      if (temporary.named) ::unlinkat(parent.get(), temporary.name.c_str(), 0);
      return could_not_write(error);
    }
    return put_in_place(delta, parent, temporary.name, name);
  }

  // The last look is right before the rename: what somebody writes after it and before it, some microseconds, is lost.
  Why put_in_place(const TreeDelta& delta, const Fd& parent, const std::string& temporary, const std::string& name) {
    Why why;
    const Still still = present_.still(files_, delta.path);
    if (still == Still::other) {
      why = delta.mode_before ? kChanged : "something that no snapshot holds is in its place; move it away";
    } else {
      const unsigned how = still == Still::gone ? RENAME_NOREPLACE : 0;
      int moved = ::renameat2(parent.get(), temporary.c_str(), parent.get(), name.c_str(), how);
      if (moved != 0 && errno == EINVAL) moved = ::renameat(parent.get(), temporary.c_str(), parent.get(), name.c_str());
      if (moved != 0) why = errno == EEXIST ? Why(kChanged) : could_not_write(errno);
    }
    if (!why.empty()) ::unlinkat(parent.get(), temporary.c_str(), 0);
    return why;
  }

  static Why could_not_write(int error) { return fmt::format("could not be written: {}", std::strerror(error)); }

  void touch(const std::string& directory, const Fd& fd) {
    if (!touched_.contains(directory)) touched_[directory] = Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  }

  const std::string& root_;
  const SnapshotStore& store_;
  const SnapshotScanner& present_;
  const PlainTree& files_;
  Restored& out_;
  const Snapshot& target_;
  std::set<std::string> left_out_, emptied_;
  std::unordered_map<std::string, Fd> touched_;  // directories to sync
  std::unique_ptr<GitView> rules_;               // when the ignore rules are others now
};

}  // namespace

void restore_files(const std::string& root, const SnapshotStore& store, const SnapshotScanner& present, const RestorePlan& plan,
                   Restored& out) {
  Restorer(root, store, present, plan, out).run(plan.deltas);
}

}  // namespace lares::tools
