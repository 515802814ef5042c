// A directory of one test's own, which goes with all that is in it.
#pragma once

#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace lares {

class TemporaryDirectory {
 public:
  // `below`: another place than the system's for such, as a test of a file system needs.
  explicit TemporaryDirectory(
      const std::filesystem::path& below = std::filesystem::temp_directory_path()) {
    std::string name = below / "lares-test-XXXXXX";
    if (!::mkdtemp(name.data())) {
      std::perror(("make a directory below " + below.string()).c_str());
      std::abort();
    }
    path_ = std::filesystem::canonical(name);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;  // a test may have taken it away itself
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }  // without links in it
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

}  // namespace lares
