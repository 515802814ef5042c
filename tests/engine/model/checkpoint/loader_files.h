// A small checkpoint directory on disk that a test may damage.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/temporary_directory.h"

namespace lares::engine::test {

inline std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return std::move(out).str();
}
inline void write_all(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

class CheckpointCopy {
 public:
  explicit CheckpointCopy(const std::string& golden = "micro-flash") {
    const std::filesystem::path from = std::filesystem::path(LARES_SOURCE_DIR) / "tests/goldens" /
                                       golden;
    for (const auto& entry : std::filesystem::directory_iterator(from))
      if (entry.path().filename() != "goldens.safetensors")
        std::filesystem::copy(entry.path(), path_ / entry.path().filename());
  }
  std::filesystem::path file(const std::string& name) const { return path_ / name; }
  std::string directory() const { return path_.string(); }

  // Replaces `from`, which occurs, by `to` once in a text file, or in a shard's header (which is
  // then re-measured).
  void edit(const std::string& name, const std::string& from, const std::string& to) const {
    std::string bytes = read_all(file(name));
    const auto at = bytes.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    bytes.replace(at, from.size(), to);
    if (name.ends_with(".safetensors")) {
      std::uint64_t n;
      std::memcpy(&n, bytes.data(), 8);
      n += to.size() - from.size();
      std::memcpy(bytes.data(), &n, 8);
    }
    write_all(file(name), bytes);
  }

 private:
  TemporaryDirectory made_;
  std::filesystem::path path_ = made_.path();
};

inline constexpr const char* kShard1 = "model-00001-of-00002.safetensors";
inline constexpr const char* kIndex = "model.safetensors.index.json";

}  // namespace lares::engine::test
