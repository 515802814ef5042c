#include "daemon/cli/settings_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/atomic_file.h"

namespace lares::cli {

Result<> write_settings_file(const std::string& path, const nlohmann::ordered_json& object) {
  namespace fs = std::filesystem;
  const auto failed = [&](const char* what, int error) {
    return tl::unexpected(Error{fmt::format("write the settings to {}: {}: {}; nothing was changed", path, what, std::strerror(error))});
  };
  std::error_code ec;
  const fs::path real = fs::exists(path, ec) ? fs::canonical(path, ec) : fs::path(path);  // people keep such files elsewhere, and link to them
  if (!ec) fs::create_directories(real.parent_path(), ec);
  if (ec) return failed("make its directory", ec.value());
  const tools::Fd dir(::open(real.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return failed("open its directory", errno);
  tools::Temporary temporary = tools::make_temporary(dir.get());
  if (!temporary.fd) return failed("make a file beside it", errno);
  int error = tools::write_all(temporary.fd.get(), object.dump(2) + "\n");
  if (error == 0 && ::fsync(temporary.fd.get()) != 0) error = errno;
  if (error == 0) error = tools::give_name(dir.get(), temporary);
  if (error == 0 && ::renameat(dir.get(), temporary.name.c_str(), dir.get(), real.filename().c_str()) != 0) error = errno;
  if (error != 0) {
    if (temporary.named) ::unlinkat(dir.get(), temporary.name.c_str(), 0);
    return failed("write it", error);
  }
  ::fsync(dir.get());
  return {};
}

}  // namespace lares::cli
