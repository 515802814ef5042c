#include "sandbox/user_home.h"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

namespace lares::sandbox {

std::string user_home() {
  std::string home;
  if (const char* value = ::getenv("HOME"); value && *value) home = value;
  if (home.empty()) {
    std::array<char, 4096> buffer;
    passwd entry, *found = nullptr;
    if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found)
      home = found->pw_dir;
  }
  std::error_code failed;
  const auto resolved = std::filesystem::canonical(home, failed);
  if (failed || resolved == "/" || !std::filesystem::is_directory(resolved, failed)) return {};
  return resolved.native();
}

}  // namespace lares::sandbox
