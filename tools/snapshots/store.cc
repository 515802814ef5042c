#include "tools/snapshots/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <git2/sys/odb_backend.h>
#include <git2/sys/repository.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>

#include "tools/atomic_file.h"
#include "tools/git/library.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr char kLockFile[] = "/lares.lock";
constexpr int kLockWaitMs = 10'000, kLockPollMs = 1;
constexpr int kLockTriesMax = 10;  // of a store that somebody removes and makes again meanwhile
// Beyond it the whole file system is synced, which one call does
constexpr std::size_t kSyncSinglyMax = 1000;
// The first snapshot of 113 MB: 2.8 s and 58 MB; at 6 5.8 s and 56 MB
constexpr int kCompression = 1;
constexpr std::size_t kInflateBytes = 64 << 10;
constexpr std::uint64_t kObjectBytesMax = 1ull << 30;  // no snapshot has a content near it
// In the lock's file: the second is bytes(), in decimal digits. After them, whether there are
// objects that may not be durable.
constexpr std::size_t kGenerationBytes = 16, kCountBytes = 20,
                      kMarkAt = kGenerationBytes + kCountBytes;
constexpr char kSynced = '-', kUnsynced = 'd';

tl::unexpected<std::string> failed(const std::string& what, const std::string& path, int error) {
  return tl::unexpected(fmt::format("{} {}: {}", what, path, std::strerror(error)));
}
tl::unexpected<std::string> failed_in_git(const std::string& what, const std::string& path) {
  return tl::unexpected(fmt::format("{} {}: {}", what, path, git::last_error()));
}

// As git's own batches: all contents are on their way before the first is waited for, and one fsync
// commits the names. Gives errno's value.
int sync_singly(const std::vector<std::string>& paths) {
  std::vector<Fd> files;
  for (const std::string& path : paths) {
    files.emplace_back(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!files.back()) return errno;
    (void)::sync_file_range(files.back().get(), 0, 0, SYNC_FILE_RANGE_WRITE);
  }
  constexpr unsigned kWait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                             SYNC_FILE_RANGE_WAIT_AFTER;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const bool last = i + 1 == files.size();
    if (::sync_file_range(files[i].get(), 0, 0, kWait) == 0 && !last) continue;
    if (::fsync(files[i].get()) != 0) return errno;
  }
  return 0;
}

}  // namespace

std::string oid_text(const git_oid& oid) {
  char out[GIT_OID_HEXSZ + 1];
  return git_oid_tostr(out, sizeof out, &oid);
}

std::size_t OidHash::operator()(const git_oid& oid) const {
  std::size_t out;
  std::memcpy(&out, oid.id, sizeof out);
  return out;
}

SnapshotResult<SnapshotStore> SnapshotStore::open(const std::string& root,
                                                  const std::string& private_dir) {
  std::error_code error;
  const std::string real_root = std::filesystem::canonical(root, error).string();
  if (error)
    return tl::unexpected(fmt::format("open the snapshots of {}: {}", root, error.message()));
  if (!git::start_library()) return failed_in_git("open the snapshots of", root);
  SnapshotStore out;
  out.private_dir_ = std::filesystem::absolute(private_dir).lexically_normal().string();
  std::string real_private;
  std::filesystem::create_directories(out.private_dir_, error);
  if (!error) real_private = std::filesystem::canonical(out.private_dir_, error).string();
  if (error)
    return tl::unexpected(
        fmt::format("make {} for snapshots: {}", out.private_dir_, error.message()));
  if (real_private == real_root ||
      real_private.starts_with(real_root == "/" ? "/" : real_root + "/")) {
    return tl::unexpected(fmt::format(
        "open the snapshots of {}: they would hold themselves in {}; choose a directory outside",
        real_root, real_private));
  }
  out.private_dir_ = real_private;
  out.path_ = real_private + "/" + blob_sha(real_root).substr(0, 16) + ".git";
  const auto lock = out.lock();
  if (!lock) return tl::unexpected(lock.error());
  if (auto made = out.make_repository(); !made) return tl::unexpected(made.error());
  out.sweep();
  return out;
}

SnapshotResult<> SnapshotStore::make_directory() const {
  std::error_code error;
  std::filesystem::create_directories(private_dir_, error);
  if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST) return failed("make", path_, errno);
  struct stat st {};
  if (::lstat(path_.c_str(), &st) != 0) return failed("make", path_, errno);
  if (!S_ISDIR(st.st_mode) || st.st_uid != ::geteuid() || (st.st_mode & 0022) != 0) {
    return tl::unexpected(
        fmt::format("open {}: it is no directory of user {} alone; remove it", path_, ::geteuid()));
  }
  return {};
}

// Done again at every start, which completes one that a crash cut short. Under the lock: git's own
// locks are nobody's then.
SnapshotResult<> SnapshotStore::make_repository() {
  for (const char* left : {"/config.lock", "/HEAD.lock"}) ::unlink((path_ + left).c_str());
  git_repository* raw = nullptr;
  git_repository_init_options options = GIT_REPOSITORY_INIT_OPTIONS_INIT;
  options.flags = GIT_REPOSITORY_INIT_BARE;
  options.initial_head = "none";
  if (git_repository_init_ext(&raw, path_.c_str(), &options) != 0)
    return failed_in_git("make the repository", path_);
  git::Repository repository(raw);
  git_config* raw_config = nullptr;
  if (git_repository_config(&raw_config, raw) != 0) return failed_in_git("configure", path_);
  const git::Owned<git_config, git_config_free> config(raw_config);
  int durable = 0;
  if (git_config_get_bool(&durable, raw_config, "core.fsyncObjectFiles") != 0 || !durable) {
    if (git_config_set_bool(raw_config, "core.fsyncObjectFiles", 1) != 0)
      return failed_in_git("configure", path_);  // refs too
  }
  // An object database of the store's own directory and nothing else: what
  // `objects/info/alternates` says is not followed.
  const std::string objects = path_ + "/objects";
  git_odb* raw_odb = nullptr;
  if (git_odb_new(&raw_odb) != 0) return failed_in_git("open", objects);
  const git::Owned<git_odb, git_odb_free> odb(raw_odb);
  if (git_odb_backend_loose(&loose_, objects.c_str(), kCompression, 0, 0700, 0400) != 0 ||
      git_odb_add_backend(raw_odb, loose_, 2) != 0 ||
      git_odb_backend_pack(&packed_, objects.c_str()) != 0 ||
      git_odb_add_backend(raw_odb, packed_, 1) != 0 || git_repository_set_odb(raw, raw_odb) != 0) {
    return failed_in_git("open", objects);
  }
  repository_ = std::move(repository);
  return {};
}

// Only under the lock: what others write is no leftover then.
void SnapshotStore::sweep() const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path_ + "/objects", error)) {
    if (entry.path().filename().string().starts_with("tmp_object")) ::unlink(entry.path().c_str());
  }
  for (const auto& entry :
       std::filesystem::directory_iterator(path_ + "/refs/lares/snapshots", error)) {
    if (entry.path().extension() == ".lock") ::unlink(entry.path().c_str());
  }
}

SnapshotResult<Fd> SnapshotStore::open_lock() const {
  const std::string path = path_ + kLockFile;
  if (auto made = make_directory(); !made) return tl::unexpected(made.error());
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return failed("lock", path, errno);
  for (int waited = 0; ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0; waited += kLockPollMs) {
    if (errno != EWOULDBLOCK && errno != EINTR) return failed("lock", path, errno);
    if (waited >= kLockWaitMs) {
      return tl::unexpected(fmt::format(
          "lock {}: another process has been working on these snapshots for {} s; try again", path,
          kLockWaitMs / 1000));
    }
    ::usleep(kLockPollMs * 1000);
  }
  return fd;
}

SnapshotResult<Fd> SnapshotStore::lock() {
  for (int i = 0; i < kLockTriesMax; ++i) {
    auto fd = open_lock();
    if (!fd) return fd;
    struct stat held {
    }, named{};
    if (::fstat(fd->get(), &held) != 0 || ::lstat((path_ + kLockFile).c_str(), &named) != 0 ||
        held.st_ino != named.st_ino)
      continue;
    if (::access((path_ + "/HEAD").c_str(), F_OK) != 0 && repository_) {
      if (auto made = make_repository(); !made) return tl::unexpected(made.error());
    }
    if (auto read = read_generation(*fd); !read) return tl::unexpected(read.error());
    return fd;
  }
  return tl::unexpected(fmt::format("lock {}: it is removed again and again", path_));
}

SnapshotResult<> SnapshotStore::read_generation(const Fd& lock) {
  std::string now(kMarkAt + 1, '\0');
  const ssize_t n = ::pread(lock.get(), now.data(), now.size(), 0);
  bytes_ = -1;
  std::erase_if(unsynced_,
                [](const std::string& path) { return ::access(path.c_str(), F_OK) != 0; });
  const bool marked = now[kMarkAt] == kUnsynced, by_another = marked && !marked_;
  marked_ = marked;
  if (n < static_cast<ssize_t>(kGenerationBytes)) return change_generation(lock);
  generation_ = now.substr(0, kGenerationBytes);
  if (by_another) return remove_damaged(lock);
  if (n < static_cast<ssize_t>(kMarkAt)) return {};
  const char *first = now.data() + kGenerationBytes, *last = now.data() + kMarkAt;
  if (std::from_chars(first, last, bytes_).ptr != last) bytes_ = -1;
  return {};
}

// Whoever put the last ones did not come to sync them: it was killed, or the power was cut. has()
// would take for stored what a cut left empty, and no snapshot would ever hold it again.
SnapshotResult<> SnapshotStore::remove_damaged(const Fd& lock) {
  std::size_t n = 0;
  for_each_loose(path_, [&](const git_oid& oid, const std::string& path, std::uint64_t) {
    if (!check(oid) && ::unlink(path.c_str()) == 0) ++n;
  });
  if (n > 0) {
    if (auto changed = change_generation(lock); !changed) return changed;
  }
  if (auto synced = sync_all(); !synced) return synced;
  (void)!::pwrite(lock.get(), &kSynced, 1, kMarkAt);
  marked_ = false;
  return {};
}

SnapshotResult<> SnapshotStore::sync_all() const {
  const std::string objects = path_ + "/objects";
  const Fd fd(::open(objects.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return {};  // there is none yet
  return fd && ::syncfs(fd.get()) == 0 ? SnapshotResult<>() : failed("sync", objects, errno);
}

// Durable before the first object can be there.
SnapshotResult<> SnapshotStore::mark_unsynced() {
  if (marked_) return {};
  const std::string path = path_ + kLockFile;
  const Fd fd(::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd || ::pwrite(fd.get(), &kUnsynced, 1, kMarkAt) != 1 || ::fdatasync(fd.get()) != 0)
    return failed("write", path, errno);
  marked_ = true;
  return {};
}

// For whoever has the lock next. Where it cannot be written, they count again.
void SnapshotStore::write_bytes() const {
  if (bytes_ < 0) return;
  const Fd fd(::open((path_ + kLockFile).c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  const std::string text = fmt::format("{:020}", bytes_);
  if (fd) (void)!::pwrite(fd.get(), text.data(), text.size(), kGenerationBytes);
}

void SnapshotStore::recount(std::uint64_t bytes) {
  bytes_ = static_cast<std::int64_t>(bytes);
  std::erase_if(unsynced_,
                [](const std::string& path) { return ::access(path.c_str(), F_OK) != 0; });
  read_.clear();
  refs_.clear();
  write_bytes();
}

SnapshotResult<> SnapshotStore::change_generation(const Fd& lock) {
  const std::string now = temporary_name().substr(7, kGenerationBytes);  // 16 random digits
  if (::pwrite(lock.get(), now.data(), now.size(), 0) != static_cast<ssize_t>(now.size()))
    return failed("write", path_ + kLockFile, errno);
  generation_ = now;
  return {};
}

std::string SnapshotStore::object_path(const git_oid& oid) const {
  const std::string name = oid_text(oid);
  return fmt::format("{}/objects/{}/{}", path_, name.substr(0, 2), name.substr(2));
}

// The backends and not the database: that one also knows what it has read once, gone or not.
bool SnapshotStore::has(const git_oid& oid) const {
  return loose_->exists(loose_, &oid) || packed_->exists(packed_, &oid);
}

SnapshotResult<> SnapshotStore::put(const git_oid& oid, std::string_view bytes, git_object_t type) {
  if (has(oid)) return {};
  if (auto marked = mark_unsynced(); !marked) return marked;
  if (loose_->write(loose_, &oid, bytes.data(), bytes.size(), type) != 0)
    return failed_in_git("write a snapshot to", path_);
  unsynced_.push_back(object_path(oid));
  struct stat st {};
  if (bytes_ >= 0 && ::stat(unsynced_.back().c_str(), &st) == 0) bytes_ += st.st_blocks * 512;
  return {};
}

SnapshotResult<> SnapshotStore::sync() {
  if (unsynced_.empty() && !marked_) return {};
  write_bytes();
  const int failure = unsynced_.size() > kSyncSinglyMax ? EMFILE : sync_singly(unsynced_);
  if (failure == EMFILE || failure == ENFILE) {
    if (auto synced = sync_all(); !synced) return synced;
  } else if (failure != 0) {
    return failed("sync", path_ + "/objects", failure);  // they stay to be synced
  }
  unsynced_.clear();
  const Fd fd(::open((path_ + kLockFile).c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  if (marked_ && fd && ::pwrite(fd.get(), &kSynced, 1, kMarkAt) == 1) marked_ = false;
  return {};
}

SnapshotResult<> SnapshotStore::check(const git_oid& oid) const {
  const std::string path = object_path(oid);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno == ENOENT) return {};  // packed, or libgit2 says what it lacks
  if (!fd) return failed("read a snapshot from", path, errno);
  z_stream stream{};
  if (::inflateInit(&stream) != Z_OK)
    return tl::unexpected(fmt::format("read a snapshot from {}: no memory", path));
  std::vector<unsigned char> in(kInflateBytes), out(kInflateBytes);
  int state = Z_OK;
  while (state == Z_OK) {
    if (stream.avail_in == 0) {
      const ssize_t n = ::read(fd.get(), in.data(), in.size());
      if (n <= 0) break;
      stream.next_in = in.data();
      stream.avail_in = static_cast<unsigned>(n);
    }
    stream.next_out = out.data();
    stream.avail_out = static_cast<unsigned>(out.size());
    state = ::inflate(&stream, Z_NO_FLUSH);
    if (stream.total_out > kObjectBytesMax) break;
  }
  ::inflateEnd(&stream);
  if (state == Z_STREAM_END) return {};
  return tl::unexpected(fmt::format("read a snapshot from {}: the file is damaged after {} bytes",
                                    path, stream.total_in));
}

SnapshotResult<std::string> SnapshotStore::blob(const git_oid& oid) const {
  if (auto whole = check(oid); !whole) return tl::unexpected(whole.error());
  git_odb* raw = nullptr;
  git_odb_object* object = nullptr;
  if (git_repository_odb(&raw, repository_.get()) != 0) return failed_in_git("read", path_);
  const git::Owned<git_odb, git_odb_free> odb(raw);
  if (git_odb_read(&object, raw, &oid) != 0) return failed_in_git("read a snapshot from", path_);
  const git::Owned<git_odb_object, git_odb_object_free> owner(object);
  return std::string(static_cast<const char*>(git_odb_object_data(object)),
                     git_odb_object_size(object));
}

std::uint64_t SnapshotStore::blob_bytes(const git_oid& oid) const {
  git_odb* raw = nullptr;
  std::size_t size = 0;
  git_object_t type = GIT_OBJECT_INVALID;
  if (git_oid_is_zero(&oid) || !check(oid) || git_repository_odb(&raw, repository_.get()) != 0)
    return 0;
  const git::Owned<git_odb, git_odb_free> odb(raw);
  return git_odb_read_header(&size, &type, raw, &oid) == 0 ? size : 0;
}

std::uint64_t SnapshotStore::bytes() {
  if (bytes_ < 0) {
    bytes_ = 0;
    for_each_loose(path_, [&](const git_oid&, const std::string&, std::uint64_t n) {
      bytes_ += static_cast<std::int64_t>(n);
    });
  }
  return static_cast<std::uint64_t>(bytes_);
}

void for_each_loose(
    const std::string& store,
    const std::function<void(const git_oid&, const std::string&, std::uint64_t)>& each) {
  for (int i = 0; i < 256; ++i) {
    const std::string start = fmt::format("{:02x}", i), directory = store + "/objects/" + start;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
    while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
      git_oid oid;
      struct stat st {};
      const std::string name = start + entry->d_name;
      if (name.size() != GIT_OID_HEXSZ || git_oid_fromstr(&oid, name.c_str()) != 0) continue;
      if (::fstatat(::dirfd(dir.get()), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
      each(oid, directory + "/" + entry->d_name, static_cast<std::uint64_t>(st.st_blocks) * 512);
    }
  }
}

}  // namespace lares::tools
