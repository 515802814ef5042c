#include "daemon/protocol/socket_path.h"

#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

namespace lares::daemon {
namespace {

// An empty variable counts as unset, as the XDG specification asks.
std::string env(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

tl::expected<std::string, std::string> socket_path(const std::string& given) {
  std::string path = given;
  if (path.empty()) path = env("LARES_SOCKET");
  if (path.empty()) {
    const std::string runtime = env("XDG_RUNTIME_DIR");
    path = runtime.starts_with('/') ? runtime + "/lares/lares.sock"
                                    : fmt::format("/tmp/lares-{}/lares.sock", ::getuid());
  }
  constexpr std::size_t kMax = sizeof(sockaddr_un::sun_path) - 1;
  if (path.size() > kMax)
    return tl::unexpected(
        fmt::format("use socket {}: the path has {} bytes, a socket address holds {}; choose a "
                    "shorter one with "
                    "--socket or LARES_SOCKET",
                    path, path.size(), kMax));
  if (!path.starts_with('/'))
    return tl::unexpected(
        fmt::format("use socket {}: the path is not absolute; give one that starts with /", path));
  return path;
}

tl::expected<std::string, std::string> state_dir(const std::string& given) {
  std::string path = given;
  if (path.empty()) path = env("LARES_STATE_DIR");
  if (path.empty()) {
    if (const std::string state = env("XDG_STATE_HOME"); state.starts_with('/'))
      path = state + "/lares";
  }
  if (path.empty()) {
    const std::string home = env("HOME");
    if (!home.starts_with('/'))
      return tl::unexpected<std::string>(
          "find the state directory: HOME is not set; set it, or LARES_STATE_DIR to a directory");
    path = home + "/.local/state/lares";
  }
  if (!path.starts_with('/'))
    return tl::unexpected(fmt::format(
        "use state directory {}: the path is not absolute; give one that starts with /", path));
  // "/x/" and "/x/." are /x: one name for what is compared, and whose parent is looked for.
  const auto plain = std::filesystem::path(path).lexically_normal();
  return (plain.has_filename() ? plain : plain.parent_path()).string();
}

std::string tiles_dir() {
  if (const std::string cache = env("XDG_CACHE_HOME"); cache.starts_with('/'))
    return cache + "/lares/tiles";
  const std::string home = env("HOME");
  return home.starts_with('/') ? home + "/.cache/lares/tiles" : "";
}

}  // namespace lares::daemon
