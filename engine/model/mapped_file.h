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

 private:
  MappedFile() = default;
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

// The whole of a small text file, at most `bytes_max`.
Result<std::string> read_text(const std::string& path, std::size_t bytes_max);

}  // namespace lares::engine
