#include "daemon/cli/settings_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>

#include "tools/atomic_file.h"

namespace lares::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::seconds kOthersWithin{10};  // an other's change takes milliseconds
constexpr std::chrono::milliseconds kTryEvery{10};

constexpr int kLinksMax = 40;  // as the kernel follows

// People keep such files elsewhere, and link to them, before there is one too.
fs::path real_path(const std::string& path, std::error_code& ec) {
  fs::path real = path;
  for (int n = 0; fs::is_symlink(fs::symlink_status(real, ec)); ++n) {
    const fs::path target = fs::read_symlink(real, ec);
    if (n == kLinksMax) ec = std::make_error_code(std::errc::too_many_symbolic_link_levels);
    if (ec) return real;
    real = real.parent_path() / target;
  }
  return fs::weakly_canonical(real, ec);
}

}  // namespace

Result<tools::Fd> hold_settings_file(const std::string& path) {
  const auto failed = [&](const std::string& why) {
    return tl::unexpected(
        Error{fmt::format("change the settings in {}: {}; nothing was changed", path, why)});
  };
  std::error_code ec;
  const fs::path real = real_path(path, ec);
  if (!ec) fs::create_directories(real.parent_path(), ec);
  if (ec) return failed("make its directory: " + ec.message());
  tools::Fd dir(::open(real.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return failed(fmt::format("open its directory: {}", std::strerror(errno)));
  const auto until = std::chrono::steady_clock::now() + kOthersWithin;
  while (::flock(dir.get(), LOCK_EX | LOCK_NB) != 0) {  // the directory, for the file is replaced
    if (errno != EWOULDBLOCK && errno != EINTR)
      return failed(fmt::format("lock its directory: {}", std::strerror(errno)));
    if (std::chrono::steady_clock::now() > until)
      return failed(fmt::format("another process holds its directory locked for {} seconds",
                                kOthersWithin.count()));
    std::this_thread::sleep_for(kTryEvery);
  }
  return dir;
}

Result<> write_settings_file(const std::string& path, const nlohmann::ordered_json& object) {
  const auto failed = [&](const char* what, int error) {
    return tl::unexpected(Error{fmt::format("write the settings to {}: {}: {}; nothing was changed",
                                            path, what, std::strerror(error))});
  };
  std::error_code ec;
  const fs::path real = real_path(path, ec);
  if (!ec) fs::create_directories(real.parent_path(), ec);
  if (ec) return failed("make its directory", ec.value());
  const tools::Fd dir(::open(real.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return failed("open its directory", errno);
  if (const int error = tools::put_file(dir.get(), real.filename().string(), object.dump(2) + "\n"))
    return failed("write it", error);
  return {};
}

}  // namespace lares::cli
