#include "tools/snapshots/restore.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "tools/atomic_file.h"
#include "tools/git/view.h"
#include "tools/workspace/rooted_fs.h"

namespace lares::tools {
namespace {

using Still = SnapshotScanner::Still;
using Why = std::string;  // "" when done

// Written before the first of them is synced, for then one commit of the file system's journal does
// for all.
constexpr std::size_t kBatchFiles = 64;
constexpr std::uint64_t kWrittenOverMax = 1ull << 30;  // far above what a snapshot holds
constexpr const char* kInGitDirectory = "lies in a .git directory";
constexpr const char* kChanged = "was changed by someone else meanwhile; it is left as it is now";

bool is_program(unsigned mode) { return (mode & 0100) != 0; }
bool is_private(unsigned mode) { return (mode & 0077) == 0; }

// The old file's permissions, as far as the snapshot says nothing else; git adds execution for
// those who may read, too.
mode_t permissions(mode_t was, unsigned mode) {
  if (is_private(mode))
    was &= ~static_cast<mode_t>(0077);
  else if ((was & 0077) == 0)
    was |= 0044;
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

// A file that is written and has no name yet; of a symlink only where it will be.
struct Prepared {
  const TreeDelta* delta;
  const RestoreTarget* target;
  Fd parent;
  std::string name, bytes;
  Temporary temporary;
  Fd old;  // what is written over with `bytes`, for a new file would have another owner or group
  Why why;
};

class Restorer {
 public:
  Restorer(const std::string& root, const SnapshotStore& store, const SnapshotScanner& present,
           const RestorePlan& plan, Restored& out)
      : root_(root), store_(store), present_(present), files_(present.files()), out_(out) {
    for (const RestoreTarget& target : plan) {
      Removals& removals =
          *removals_.emplace_back(std::make_unique<Removals>(store, files_, target));
      for (const TreeDelta& delta : target.deltas) {
        (delta.mode_after ? written_ : removed_).insert(delta.path);
        work_.push_back({&delta, &target, delta.mode_after ? nullptr : &removals});
      }
    }
  }

  // Rules before files, for they say which of the files that the snapshot does not have were there
  // all the same. Removals before writing, or a directory could not take a file's place.
  void run() {
    std::vector<Work> rules, removals, writes;
    for (const Work& work : work_) {
      if (base_name(work.delta->path) == ".gitignore" && !waits_for_room(work))
        rules.push_back(work);
      else
        (work.removals ? removals : writes).push_back(work);
    }
    const auto gone = std::ranges::stable_partition(
        rules, [](const Work& work) { return work.removals == nullptr; });
    for (const Work& work : gone) tell(*work.delta, remove(work));
    write({rules.begin(), gone.begin()});
    if (!rules.empty()) {
      auto git = GitView::open(root_);
      if (git) rules_ = std::make_unique<GitView>(std::move(*git));
    }
    for (const Work& work : removals) tell(*work.delta, remove(work));
    remove_empty_directories();
    write(writes);
    close_directories();
    for (const auto& [path, fd] : touched_) {
      const Fd directory(::openat(fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (directory)
        (void)::fsync(directory.get());  // an error leaves files that are right but not yet durable
    }
    sort();
  }

  void foresee() {
    Room room(files_);
    for (const Work& work : work_) {
      if (!work.removals) continue;
      const TreeDelta& delta = *work.delta;
      const Why why = names_git_directory(delta.path) ? kInGitDirectory
                                                      : work.removals->why_not(delta);
      if (why.empty()) room.add(delta.path);
      tell(delta, why);
    }
    for (const Work& work : work_)
      if (!work.removals) tell(*work.delta, foresee_writing(*work.delta, room));
    sort();
  }

 private:
  struct Work {
    const TreeDelta* delta;
    const RestoreTarget* target;
    Removals* removals;  // null: it is written
  };

  Why foresee_writing(const TreeDelta& delta, const Room& room) const {
    if (names_git_directory(delta.path)) return kInGitDirectory;
    if (Why why = room.why_none(delta.path); !why.empty()) return why;
    if (!is_directory(delta.path) && present_.still(files_, delta.path) == Still::other)
      return why_other(delta);
    return "";
  }
  // Rules whose place something else has that goes first: they are of nothing that is there now.
  bool waits_for_room(const Work& work) const {
    if (work.removals) return false;
    if (is_directory(work.delta->path)) return true;
    for (std::string at = directory_of(work.delta->path); !at.empty(); at = directory_of(at))
      if (removed_.contains(at)) return true;
    return false;
  }
  bool is_directory(const std::string& path) const {  // whose files may go first
    struct stat st {};
    return files_.lstat(path, st) && S_ISDIR(st.st_mode);
  }
  void sort() {
    std::ranges::sort(out_.done, {}, &SnapshotChange::path);
    std::ranges::sort(out_.not_done, {}, &PathReason::path);
  }
  void tell(const TreeDelta& delta, const Why& why) {
    if (why.empty())
      out_.done.push_back(describe(store_, delta));
    else
      out_.not_done.push_back({delta.path, why});
  }

  Why remove(const Work& work) {
    const TreeDelta& delta = *work.delta;
    if (names_git_directory(delta.path)) return kInGitDirectory;
    if (Why why = work.removals->why_not(delta); !why.empty()) return why;
    if (rules_ && rules_->has_repository() && rules_->ignored(delta.path, false)) {
      return "is ignored by the rules of then, so it may have been there; remove it by hand";
    }
    const Still still = present_.still(files_, delta.path);
    if (still == Still::gone) return "";
    if (still == Still::other) return kChanged;
    std::string name;
    const auto parent = files_.parent(delta.path, name);
    if (!parent) return why_not(parent.error());
    bool lost = false;
    if (const int error = remove_file(parent->get(), name, is_it(delta.path), lost);
        error && error != ENOENT)
      return fmt::format("could not be removed: {}", std::strerror(error));
    if (lost) return kChanged;
    emptied_[directory_of(delta.path)].insert(work.removals);
    touch(directory_of(delta.path), *parent);
    return "";
  }

  // Of a file that is written.
  bool is_in_the_way(const std::string& directory) const {
    for (std::string at = directory; !at.empty(); at = directory_of(at))
      if (written_.contains(at)) return true;
    return false;
  }

  // The deepest first; one that still holds something ends its own way up, and so does one that was
  // there, whoever emptied it: of several moments, at each from which something in it went.
  void remove_empty_directories() {
    while (!emptied_.empty()) {
      const auto deepest = std::ranges::max_element(
          emptied_, {}, [](const auto& one) { return std::ranges::count(one.first, '/'); });
      const auto [path, moments] = *deepest;
      emptied_.erase(deepest);
      const auto had_it = [&path = path](const Removals* removals) {
        return removals->had_directory(path);
      };
      if (!is_in_the_way(path) && std::ranges::all_of(moments, had_it)) continue;
      std::string name;
      const auto parent = path.empty() ? tl::unexpected(ENOENT) : files_.parent(path, name);
      if (!parent || ::unlinkat(parent->get(), name.c_str(), AT_REMOVEDIR) != 0) continue;
      touched_.erase(path);
      touch(directory_of(path), *parent);
      emptied_[directory_of(path)].insert(moments.begin(), moments.end());
    }
  }

  void write(std::span<const Work> left) {
    while (!left.empty()) {
      std::vector<Prepared> batch;
      for (const Work& work : left.first(std::min(left.size(), kBatchFiles))) {
        batch.push_back({work.delta, work.target, {}, {}, {}, {}, {}, {}});
        batch.back().why = prepare(batch.back());
      }
      left = left.subspan(batch.size());
      for (const Prepared& file : batch) {
        if (file.temporary.fd)
          (void)::sync_file_range(file.temporary.fd.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
      }
      for (Prepared& file : batch) {
        if (file.why.empty() && file.temporary.fd && ::fsync(file.temporary.fd.get()) != 0)
          file.why = could_not_write(errno);
      }
      for (Prepared& file : batch) {
        if (file.why.empty()) file.why = put_in_place(file);
        if (file.temporary.named)
          ::unlinkat(file.parent.get(), file.temporary.name.c_str(), 0);  // what is left of a
                                                                          // failure
        tell(*file.delta, file.why);
      }
    }
  }

  // On the way to the file; what makes one durable is a sync of the one above it.
  std::vector<std::string> missing_directories(const std::string& path) const {
    std::vector<std::string> out;
    struct stat st {};
    for (std::string at = directory_of(path); !at.empty() && !files_.lstat(at, st);
         at = directory_of(at))
      out.push_back(at);
    return out;
  }

  Why prepare(Prepared& out) {
    const TreeDelta& delta = *out.delta;
    if (names_git_directory(delta.path)) return kInGitDirectory;
    auto bytes = store_.blob(delta.after);
    if (!bytes) return bytes.error();
    const std::vector<std::string> missing = missing_directories(delta.path);
    auto parent = files_.make_parent(delta.path, out.name);
    if (!parent) return why_not(parent.error());
    for (const std::string& made : missing) {
      if (const auto above = files_.directory(directory_of(made)))
        touch(directory_of(made), *above);
      if (const unsigned mode = out.target->snapshot->directories.mode_of(made))
        give_permissions(made, mode);
    }
    out.parent = std::move(*parent);
    struct stat st {};
    const bool there = ::fstatat(out.parent.get(), out.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && S_ISDIR(st.st_mode)) return kDirectoryInPlace;
    if (delta.mode_after != kModeLink)
      return write_file(out, *bytes, there && S_ISREG(st.st_mode) ? &st : nullptr);
    out.bytes = std::move(*bytes);
    return "";
  }

  // Of a directory made anew. Who has to write in it can until all is done.
  void give_permissions(const std::string& path, unsigned mode) {
    const auto made = files_.open_directory(path);
    if (!made) return;
    (void)::fchmod(made->get(), mode | 0700);  // refused, it is as a new one is
    if ((mode & 0700) != 0700) closed_[path] = mode;
  }
  // The deepest first, for nobody finds anything below one that is closed.
  void close_directories() {
    for (auto at = closed_.rbegin(); at != closed_.rend(); ++at)
      if (const auto directory = files_.open_directory(at->first))
        (void)::fchmod(directory->get(), at->second);
  }

  Why write_file(Prepared& out, const std::string& bytes, const struct stat* was) {
    const unsigned mode = out.delta->mode_after;
    out.temporary = make_temporary(out.parent.get(), was ? 0600 : new_permissions(mode));
    if (!out.temporary.fd) return could_not_write(errno);
    const int fd = out.temporary.fd.get();
    if (const int error = write_all(fd, bytes)) return could_not_write(error);
    if (!was) return "";
    const mode_t had = was->st_mode & 07777, wanted = permissions(had, mode);
    const auto open_old = [&](int access) {
      return Fd(::openat(out.parent.get(), out.name.c_str(),
                         access | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    };
    // Another owner's file stays theirs, and a group's; whose mode is to change only they could.
    // Chown clears set-id bits, so the mode comes after it.
    if (!give_owner(fd, *was) && had == wanted) out.old = open_old(O_RDWR);
    if (out.old) {
      drop(out);
      out.bytes = bytes;
      return "";
    }
    if (const Fd old = open_old(O_RDONLY)) copy_xattrs(old.get(), fd);
    return ::fchmod(fd, wanted) == 0 ? Why() : could_not_write(errno);
  }

  static void drop(Prepared& file) {
    if (file.temporary.named) ::unlinkat(file.parent.get(), file.temporary.name.c_str(), 0);
    file.temporary = Temporary();
  }

  // The file that was opened is the one of the last scan.
  Why write_over_old(Prepared& file) {
    const std::string& path = file.delta->path;
    struct stat opened {
    }, named{};
    if (present_.still(files_, path) != Still::same || ::fstat(file.old.get(), &opened) != 0 ||
        !files_.lstat(path, named) || opened.st_ino != named.st_ino)
      return kChanged;
    const auto was = files_.read(path, kWrittenOverMax);
    if (!was || was->torn) return kChanged;
    bool partly = false;
    const int error = write_over(file.old.get(), was->bytes, file.bytes, partly);
    if (!error) return "";
    return partly ? could_not_write(error) + "; it may be partly written now"
                  : could_not_write(error);
  }

  // A passing name for it. errno, or 0.
  static int give_passing_name(Prepared& file) {
    if (file.temporary.fd) return give_name(file.parent.get(), file.temporary);
    file.temporary.name = temporary_name();
    if (::symlinkat(file.bytes.c_str(), file.parent.get(), file.temporary.name.c_str()) != 0)
      return errno;
    file.temporary.named = true;
    return 0;
  }

  Why put_in_place(Prepared& file) {
    if (file.old) return write_over_old(file);
    if (const int error = give_passing_name(file)) return could_not_write(error);
    const std::string& path = file.delta->path;
    const Still still = present_.still(files_, path);
    if (still == Still::other) return why_other(*file.delta);
    const int dir = file.parent.get();
    bool lost = false;
    const int error = still == Still::gone
                          ? rename_to_new(dir, file.temporary.name, file.name)
                          : take_place(dir, file.temporary.name, file.name, is_it(path), lost);
    if (lost || error == EEXIST) return kChanged;
    if (error) return could_not_write(error);
    file.temporary.named = false;
    touch(directory_of(file.delta->path), file.parent);
    return "";
  }

  // Whether what was called `path` is as in the last scan, under a name in the same directory.
  IsIt is_it(const std::string& path) const {
    return [this, path](const std::string& name) {
      const std::string directory = directory_of(path);
      return present_.has(files_, path, directory.empty() ? name : directory + "/" + name);
    };
  }

  static Why why_other(const TreeDelta& delta) {
    return delta.mode_before ? kChanged
                             : "something that no snapshot holds is in its place; move it away";
  }
  static Why could_not_write(int error) {
    return fmt::format("could not be written: {}", std::strerror(error));
  }

  void touch(const std::string& directory, const Fd& fd) {
    if (!touched_.contains(directory))
      touched_[directory] = Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  }

  const std::string root_;
  const SnapshotStore& store_;
  const SnapshotScanner& present_;
  const PlainTree& files_;
  Restored& out_;
  std::vector<std::unique_ptr<Removals>> removals_;
  std::vector<Work> work_;
  std::unordered_set<std::string> written_, removed_;  // paths
  // Directories that something went from, and the moments from which it did
  std::map<std::string, std::set<const Removals*>> emptied_;
  std::map<std::string, unsigned> closed_;  // permissions that directories get when all is done
  std::unordered_map<std::string, Fd> touched_;  // directories to sync
  std::unique_ptr<GitView> rules_;               // when the ignore rules are others now
};

}  // namespace

void restore_files(const std::string& root, const SnapshotStore& store,
                   const SnapshotScanner& present, const RestorePlan& plan, Restored& out) {
  Restorer(root, store, present, plan, out).run();
}

void foresee_restoring(const SnapshotStore& store, const SnapshotScanner& present,
                       const RestorePlan& plan, Restored& out) {
  Restorer("", store, present, plan, out).foresee();
}

}  // namespace lares::tools
