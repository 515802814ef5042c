// Files below a root, reached by paths without any symlink: what a listing found is found there
// again or not at all.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>

#include <tl/expected.hpp>

#include "tools/fd.h"

namespace lares::tools {

template <class T>
using Errno = tl::expected<T, int>;

struct PlainFile {
  std::string bytes;    // a symlink's target
  struct stat stat {};  // from before it was read
  bool torn = false;    // it changed while it was read
};

class PlainTree {
 public:
  static Errno<PlainTree> open(const std::string& root);

  Errno<Fd> directory(const std::string& path) const;       // for *at() calls only; "" is the root
  Errno<Fd> open_directory(const std::string& path) const;  // to be read
  // Of the file's directory; `name` is its name there.
  Errno<Fd> parent(const std::string& path, std::string& name) const;
  // As parent(), missing directories made.
  Errno<Fd> make_parent(const std::string& path, std::string& name) const;
  bool lstat(const std::string& path, struct stat& out) const;
  // A regular file or a symlink; EFBIG beyond `bytes_max`, EINVAL for anything else. Never waits
  // for a FIFO.
  Errno<PlainFile> read(const std::string& path, std::uint64_t bytes_max) const;

 private:
  std::shared_ptr<Fd> root_;
};

std::string why_not(int error);  // in the user's words

}  // namespace lares::tools
