#include "daemon/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <utility>

#include <fmt/format.h>

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

tl::expected<StateDir, std::string> StateDir::open(const std::string& path) {
  const auto failed = [&](const std::string& why) { return tl::unexpected(fmt::format("open the state directory {}: {}", path, why)); };
  std::error_code ec;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ec);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return failed(std::strerror(errno));
  std::filesystem::create_directories(path + "/sessions", ec);
  if (ec) return failed("create sessions: " + ec.message());
  const int lock = ::open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock < 0) return failed(fmt::format("open lock: {}", std::strerror(errno)));
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock);
    return failed("another laresd uses it; end it with `lares shutdown`, or give another --state-dir");
  }
  std::string id;
  const std::string id_path = path + "/daemon-id";
  if (std::ifstream in(id_path); in) in >> id;
  if (id.empty()) {
    id = random_hex(kIdLength);
    std::ofstream(id_path) << id << "\n";
  }
  return StateDir(path, id, lock);
}

StateDir::StateDir(StateDir&& other) noexcept
    : path_(std::move(other.path_)), id_(std::move(other.id_)), lock_(std::exchange(other.lock_, -1)) {}

StateDir::~StateDir() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace lares::daemon
