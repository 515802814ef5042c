// A large file written beside its place and renamed when it is complete; one writer in a directory
// at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/engine.h"

namespace lares::engine {

class DraftFile {
 public:
  // A symbolic link at `path` is followed. Errc::bad_argument: another process is writing there,
  // `path` is there and no regular file, or the directory takes no files; `denied` then says
  // whether for want of permission. What killed writers left is deleted.
  static Result<DraftFile> create(const std::string& path, bool* denied = nullptr);
  DraftFile(DraftFile&& other) noexcept;
  DraftFile& operator=(DraftFile&&) = delete;
  ~DraftFile();

  bool write(const void* data, std::size_t n, std::uint64_t at) const;  // false: errno says why
  std::uint64_t free_bytes() const;                                     // of the file system
  bool keep();  // on the disk and under its name, or not at all

 private:
  DraftFile() = default;

  std::string path_, part_;
  int fd_ = -1, lock_ = -1;  // the file's; the directory's
  bool kept_ = false;
};

}  // namespace lares::engine
