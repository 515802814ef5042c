#include "daemon/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace lares::daemon {

ServiceManager::ServiceManager() {
  if (const char* const path = std::getenv("NOTIFY_SOCKET")) socket_ = path;
  ::unsetenv("NOTIFY_SOCKET");
}

// The protocol is one datagram: less than what libsystemd would add to what must be installed.
void ServiceManager::tell(std::string_view state) const {
  sockaddr_un address{};
  if (socket_.empty() || socket_.size() >= sizeof address.sun_path ||
      (socket_[0] != '/' && socket_[0] != '@'))
    return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') address.sun_path[0] = '\0';  // a name and no file
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto n = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  (void)!::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&address), n);
  ::close(fd);
}

}  // namespace lares::daemon
