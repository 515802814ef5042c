// A file mapped read-only; the mapping lives as long as the object.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/engine.h"

namespace lares::engine {

class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::uint8_t> bytes() const { return {data_, size_}; }
  bool holds(const std::uint8_t* at) const { return at >= data_ && at < data_ + size_; }

  // Both of `part`, which lies in bytes(). Neither changes what is read there.
  void read_ahead(std::span<const std::uint8_t> part) const;  // begins to read it from the disk,
                                                              // and returns
  void forget(std::span<const std::uint8_t> part) const;  // gives up its whole pages' memory, the
                                                          // page cache's too

 private:
  MappedFile() = default;
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  std::string path_;
  mutable int fd_ = -1;  // what the page cache is asked through, from the first forget() on
};

// The whole of a small text file, at most `bytes_max`.
Result<std::string> read_text(const std::string& path, std::size_t bytes_max);

}  // namespace lares::engine
