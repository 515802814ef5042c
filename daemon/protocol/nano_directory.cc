#include "daemon/protocol/nano_directory.h"

#include <filesystem>

namespace lares::daemon {

std::string nano_directory() {
  namespace fs = std::filesystem;
  std::error_code ec;
  const fs::path installed = fs::read_symlink("/proc/self/exe", ec).parent_path().parent_path() /
                             "share" / "lares" / "nano";
  if (!ec && fs::exists(installed / "config.json", ec)) return installed.string();
  return LARES_NANO_DIR;
}

std::string name_of_model(const std::string& directory) {
  std::error_code ec;
  if (std::filesystem::equivalent(directory, nano_directory(), ec)) return kNano;
  return std::filesystem::path(directory).filename().string();
}

}  // namespace lares::daemon
