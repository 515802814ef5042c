// Files below one directory, and nowhere else: every open goes through openat2(RESOLVE_BENEATH), so
// neither "..", nor a symlink, nor a race between a check and an open leads out of it.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "tools/fd.h"

namespace lares::tools {

struct FileData {
  std::string bytes;
  std::string path;  // relative to the root, after symlinks
  struct stat stat {};
};

// The reasons are written for the model: they follow a path in a sentence.
template <class T = void>
using FsResult = tl::expected<T, std::string>;

// Such a reason says that no file can be written, whichever it is: the disk is full, or read-only.
bool is_of_the_disk(std::string_view reason);
// Such a reason says that what is in the file now is not known.
bool is_partly_written(std::string_view reason);

class RootedFs {
 public:
  static constexpr std::uint64_t kFileBytesMax = 16 << 20;

  static FsResult<RootedFs> open(const std::string& root);

  const std::string& root() const { return root_; }
  // What an absolute path below the root is called inside it; nullopt when it lies elsewhere. "" is
  // the root itself.
  std::optional<std::string> relative(std::string_view absolute) const;

  // Reads a regular file of at most `bytes_max`; a FIFO or a device is refused without blocking.
  FsResult<FileData> read(const std::string& path, std::uint64_t bytes_max = kFileBytesMax) const;
  // The first `n_bytes` of a regular file of any size.
  FsResult<FileData> read_head(const std::string& path, std::uint64_t n_bytes) const;
  // Of the path itself, symlinks not followed. False: there is nothing.
  bool lstat(const std::string& path, struct stat& out) const;
  bool is_directory(const std::string& path) const;
  // Of what the path leads to, after symlinks, relative to the root; the path itself where it leads
  // nowhere.
  std::string real(const std::string& path) const;
  // Of the deepest directory on the way to `path` that exists, after symlinks, relative to the
  // root.
  std::string real_parent(const std::string& path) const;

  // Replaces what `was` describes by `bytes`, atomically: a crash leaves the old file or the new
  // one. Mode, owner, group and attributes stay: a file with several hard links, or of an owner or
  // group that we may not give, is written in place. Fails when the file on disk is no longer
  // `was`. A failure changes nothing, unless its reason is_partly_written().
  FsResult<> replace(const FileData& was, std::string_view bytes) const;
  // Removes the file that `was` describes. Fails when the file on disk is no longer `was`.
  FsResult<> remove(const FileData& was) const;
  // A new file, its missing directories included. Fails when anything has that name.
  FsResult<> create(const std::string& path, std::string_view bytes) const;

 private:
  FsResult<FileData> open_regular(const std::string& path, Fd& fd) const;
  FsResult<Fd> open_beneath(const std::string& path, int flags, unsigned mode = 0) const;
  std::optional<std::string> real_path(const Fd& fd) const;
  FsResult<Fd> open_parent(const std::string& path, std::string& name) const;

  std::string root_, real_root_;
  std::shared_ptr<Fd> fd_;
};

// Whether any component is ".git" in any case (git on a case-insensitive file system would take
// ".GIT" for it).
bool names_git_directory(std::string_view path);

}  // namespace lares::tools
