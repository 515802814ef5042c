#include "daemon/cli/commands/doctor_start.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "tools/fd.h"

namespace lares::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAnotherSocket = "give another --socket, or set LARES_SOCKET";

// Why nobody could listen there, as the daemon would find; empty: somebody could.
std::string why_no_socket(const std::string& socket) {
  struct stat st {};
  if (::lstat(socket.c_str(), &st) == 0 && !S_ISSOCK(st.st_mode))
    return fmt::format("listen on {}: there is something else of that name; {}", socket,
                       kAnotherSocket);
  const std::string folder = fs::path(socket).parent_path().string();
  if (::lstat(folder.c_str(), &st) == 0) {
    if (S_ISDIR(st.st_mode) && st.st_uid == ::geteuid() && (st.st_mode & 022) == 0) return "";
    return fmt::format(
        "listen on {}: {} must be a directory of yours that nobody else can write to; {}", socket,
        folder, kAnotherSocket);
  }
  std::string above = folder;
  while (::stat(above.c_str(), &st) != 0 && above.size() > 1)
    above = fs::path(above).parent_path().string();
  const int error = !S_ISDIR(st.st_mode)                        ? ENOTDIR
                    : ::access(above.c_str(), W_OK | X_OK) != 0 ? errno
                                                                : 0;
  if (error == 0) return "";
  return fmt::format("listen on {}: make {} in {}: {}; {}", socket, folder, above,
                     std::strerror(error), kAnotherSocket);
}

// The socket of the daemon that has the state directory, "" where it does not say; nullopt: none
// has.
std::optional<std::string> holder_of(const std::string& state_dir) {
  const std::string path = state_dir + "/lock";
  const tools::Fd lock(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!lock || ::flock(lock.get(), LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
    return std::nullopt;
  std::string socket;
  std::getline(std::ifstream(path), socket);
  return socket;
}

}  // namespace

void look_at_start(const DaemonAddress& daemon, std::vector<Finding>& out) {
  using Kind = Finding::Kind;
  if (const auto why = why_no_socket(daemon.socket); !why.empty()) {
    out.push_back({Kind::bad, "daemon", why + "; until then no daemon starts"});
    return;
  }
  if (const auto holder = daemon.state_dir.empty() ? std::nullopt : holder_of(daemon.state_dir)) {
    out.push_back(
        {Kind::bad, "daemon",
         fmt::format("none runs on {}, and none starts: the one on {} has the state directory {}; "
                     "end it with `lares shutdown{}`, or set LARES_STATE_DIR to another directory",
                     daemon.socket, holder->empty() ? "another socket" : *holder, daemon.state_dir,
                     holder->empty() ? "" : " --socket " + *holder)});
    return;
  }
  out.push_back(
      {Kind::note, "daemon", "none runs on " + daemon.socket + "; the first command starts it"});
}

}  // namespace lares::cli
