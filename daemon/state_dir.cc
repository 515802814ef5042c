#include "daemon/state_dir.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "tools/workspace/own_files.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kIdLength = 16;

}  // namespace

std::string random_hex(std::size_t n) {
  std::random_device random;
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += "0123456789abcdef"[random() % 16];
  return out;
}

tl::expected<void, std::string> make_state_dir(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ec, ignored;
  fs::path what = path;
  if (!what.has_filename()) what = what.parent_path();  // else its parent is itself
  fs::create_directories(what.parent_path(), ec);
  int error = ec.value();
  if (!ec) {
    if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST)
      return {};  // sessions are nobody else's business
    error = errno;
  }
  while (ec && what.has_relative_path() && !fs::exists(what.parent_path(), ignored))
    what = what.parent_path();
  return tl::unexpected(
      fmt::format("create {}: {}; {}", what.string(), std::strerror(error), kAnotherStateDir));
}

tl::expected<StateDir, std::string> StateDir::open(const std::string& path,
                                                   const std::string& socket) {
  const auto failed = [&](const std::string& why) {
    return tl::unexpected(fmt::format("open the state directory {}: {}", path, why));
  };
  if (auto made = make_state_dir(path); !made) return failed(made.error());
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return failed(std::strerror(errno));
  if (st.st_uid != ::geteuid())
    return failed("it belongs to another user; set LARES_STATE_DIR to a directory of yours");
  if ((st.st_mode & 077) != 0)
    return failed(
        "others may look into it, and sessions hold what they saw; chmod 700 it, or set "
        "LARES_STATE_DIR to another directory");
  std::error_code ec;
  std::filesystem::create_directories(path + "/sessions", ec);
  if (ec) return failed(fmt::format("create sessions: {}; {}", ec.message(), kAnotherStateDir));
  auto lock = FileLock::take(path + "/lock", socket, [](const std::string& theirs) {
    return theirs.empty() ? "another laresd uses it; end it with `lares shutdown`, or set "
                            "LARES_STATE_DIR to another directory"
                          : fmt::format(
                                "the laresd on {0} uses it; end it with `lares shutdown --socket "
                                "{0}`, or set LARES_STATE_DIR to another directory",
                                theirs);
  });
  if (!lock && lock.error().ends_with(std::strerror(EROFS)))
    return failed(fmt::format("{}; {}", lock.error(), kAnotherStateDir));
  if (!lock) return failed(lock.error());
  tools::mark_as_own(path);
  if (const std::string ignored = path + "/.gitignore"; !std::filesystem::exists(ignored, ec))
    std::ofstream(ignored) << "*\n";  // for git, where it lies in a repository
  std::string id;
  const std::string id_path = path + "/daemon-id";
  if (std::ifstream in(id_path); in) in >> id;
  if (id.empty()) {
    id = random_hex(kIdLength);
    std::ofstream(id_path) << id << "\n";
  }
  return StateDir(path, id, std::move(*lock));
}

}  // namespace lares::daemon
