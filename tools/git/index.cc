#include "tools/git/index.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <git2/sys/repository.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/atomic_file.h"
#include "tools/fd.h"
#include "tools/git/index_file.h"
#include "tools/git/objects.h"

namespace lares::tools::git {
namespace {

constexpr const char* kLocked = "another git process holds the index; try again";

GitResult<> put(git_index* index, const IndexEntry& entry) {
  git_index_entry about = entry.about;
  about.path = entry.path.c_str();
  if (git_index_add(index, &about) == 0) return {};
  return tl::unexpected(fmt::format("read the index: {}: {}", entry.path, last_error()));
}

// What lies below a directory that a sparse index does not enter.
GitResult<> put_tree(git_repository* repo, git_index* index, const IndexEntry& directory) {
  git_tree* raw = nullptr;
  if (git_tree_lookup(&raw, repo, &directory.about.id) != 0)
    return tl::unexpected(fmt::format("read the index: {}: {}", directory.path, last_error()));
  const Tree tree(raw);
  for (std::size_t i = 0; i < git_tree_entrycount(raw); ++i) {
    const IndexEntry below = entry_below(directory, git_tree_entry_byindex(raw, i));
    const auto done = below.is_directory() ? put_tree(repo, index, below) : put(index, below);
    if (!done) return done;
  }
  return {};
}

GitResult<Index> copy_of_index(git_repository* repo) {
  const auto entries = read_index_file(repo);
  if (!entries) return tl::unexpected(entries.error());
  git_index* raw = nullptr;
  if (git_index_new(&raw) != 0) return tl::unexpected(last_error());
  Index index(raw);
  for (const IndexEntry& entry : *entries) {
    const auto done = entry.is_directory() ? put_tree(repo, raw, entry) : put(raw, entry);
    if (!done) return tl::unexpected(done.error());
  }
  return index;
}

// libgit2 trusts fractions of a second, git as most people have it does not: to that one a file
// that was changed in the second it was staged in, and kept its size, looks unchanged once the
// index is written in a later one. Without a size git looks at the content. False: it could not be
// said of one of them.
bool distrust_times_of_that_second(git_index* index, const std::string& path) {
  struct stat written {};
  if (::stat(path.c_str(), &written) != 0) return true;  // the first index: there is no such second
  for (std::size_t i = 0; i < git_index_entrycount(index); ++i) {
    const git_index_entry* entry = git_index_get_byindex(index, i);
    if (entry->file_size == 0 || git_index_entry_is_conflict(entry) ||
        entry->mtime.seconds < written.st_mtim.tv_sec)
      continue;
    const std::string name = entry->path;
    git_index_entry unsure = *entry;
    unsure.path = name.c_str();
    unsure.file_size = 0;
    if (git_index_add(index, &unsure) != 0) return false;  // in its place
  }
  return true;
}

// libgit2 takes for racy what changed when the index was written, or later. False: errno says why.
bool copy_with_times(const std::string& from, const std::string& to) {
  const Fd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return errno == ENOENT;  // the first index
  const Fd out(::open(to.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666));
  struct stat st {};
  if (!out || ::fstat(in.get(), &st) != 0) return false;
  ssize_t n = 1;
  while (n > 0) n = ::sendfile(out.get(), in.get(), nullptr, 1 << 20);
  const struct timespec times[] = {st.st_atim, st.st_mtim};
  return n == 0 && ::futimens(out.get(), times) == 0;
}

}  // namespace

GitResult<Index> index_of(git_repository* repo) {
  git_index* raw = nullptr;
  if (git_repository_index(&raw, repo) == 0) return Index(raw);
  auto copy = copy_of_index(repo);
  if (copy && git_repository_set_index(repo, copy->get()) != 0) return tl::unexpected(last_error());
  return copy;
}

IndexToWrite::IndexToWrite(IndexToWrite&& other) noexcept
    : repo_(other.repo_),
      path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, std::string())),
      new_(std::move(other.new_)),
      index_(std::move(other.index_)) {}

IndexToWrite::~IndexToWrite() { release(); }

void IndexToWrite::release() {
  if (lock_.empty()) return;
  (void)git_repository_set_index(repo_, nullptr);  // the one on disk counts again
  ::unlink(new_.c_str());
  ::unlink(std::exchange(lock_, std::string()).c_str());
}

GitResult<IndexToWrite> IndexToWrite::open(git_repository* repo) {
  IndexToWrite out(repo, std::string(git_repository_path(repo)) + "index");
  const std::string lock = out.path_ + ".lock";
  const Fd made(::open(lock.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666));
  if (!made && errno == EEXIST) return tl::unexpected(std::string(kLocked));
  if (!made)
    return tl::unexpected(fmt::format("lock the index: {}: {}", lock, std::strerror(errno)));
  out.lock_ = lock;
  out.new_ = out.path_ + temporary_name();
  (void)git_repository_set_index(repo, nullptr);
  if (auto read = out.read(); !read) return tl::unexpected(read.error());
  return out;
}

// libgit2 takes git's lock itself when it writes, so it is given another file to write, with all
// that the index has beside its entries.
GitResult<> IndexToWrite::read() {
  if (!copy_with_times(path_, new_))
    return tl::unexpected(fmt::format("read the index: {}: {}", path_, std::strerror(errno)));
  git_index* raw = nullptr;
  if (git_index_open(&raw, new_.c_str()) == 0) {
    index_.reset(raw);
    if (git_repository_set_index(repo_, raw) == 0 &&
        git_index_set_caps(raw, GIT_INDEX_CAPABILITY_FROM_OWNER) == 0 &&
        git_index_read(raw, /*force=*/1) == 0)
      return {};
    return tl::unexpected(fmt::format("read the index: {}", last_error()));
  }
  auto copy = copy_of_index(repo_);
  if (!copy) return tl::unexpected(copy.error());
  index_ = std::move(*copy);
  if (git_repository_set_index(repo_, get()) != 0) return tl::unexpected(last_error());
  return {};
}

GitResult<> IndexToWrite::write() {
  if (!distrust_times_of_that_second(get(), path_))
    return tl::unexpected(fmt::format("write the index: {}", last_error()));
  if (auto written = write_new(); !written) return written;
  if (::rename(new_.c_str(), path_.c_str()) != 0)
    return tl::unexpected(fmt::format("write the index: {}: {}", path_, std::strerror(errno)));
  release();
  return {};
}

GitResult<> IndexToWrite::write_new() const {
  int failed = 0;
  if (git_index_path(get())) {
    failed = git_index_write(get());
  } else {
    ::unlink(new_.c_str());  // which libgit2 cannot read
    git_index* raw = nullptr;
    failed = git_index_open(&raw, new_.c_str());
    const Index out(raw);
    for (std::size_t i = 0; failed == 0 && i < git_index_entrycount(get()); ++i)
      failed = git_index_add(raw, git_index_get_byindex(get(), i));
    if (failed == 0) failed = git_index_write(raw);
  }
  if (failed == 0) return {};
  return tl::unexpected(fmt::format("write the index: {}", last_error()));
}

void read_for_attributes(git_repository* repo) {
  git_index* raw = nullptr;
  if (git_repository_index(&raw, repo) == 0) {
    const Index index(raw);
    if (git_index_path(raw)) {
      (void)git_index_read(raw, /*force=*/0);  // as it was then, where that fails
      return;
    }
  }
  raw = nullptr;
  if (git_index_new(&raw) != 0) return;
  const Index index(raw);
  if (const auto entries = read_index_file(repo)) {
    for (const IndexEntry& entry : *entries)
      if (entry.path == ".gitattributes" || entry.path.ends_with("/.gitattributes"))
        (void)put(raw, entry);
  }
  (void)git_repository_set_index(repo, raw);
}

}  // namespace lares::tools::git
