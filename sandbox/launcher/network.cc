#include "sandbox/launcher/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/launcher/sys.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {
namespace {

constexpr int kBacklog = 128;

}  // namespace

void loopback_up() {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  ::strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
  if (!socket || ::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0)
    fail_errno("network", "find the loopback interface");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_RUNNING);
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0)
    fail_errno("network", "bring up the loopback interface");
}

void hand_out_listener() {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address{AF_INET, htons(kProxyPort), {htonl(INADDR_LOOPBACK)}, {}};
  if (!listener ||
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), kBacklog) != 0)
    fail_errno("network", "listen on 127.0.0.1:{}", kProxyPort);
  char mark = kReplyListener;
  iovec bytes{&mark, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = listener.get();
  ::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (::sendmsg(kControlFd, &message, MSG_NOSIGNAL) != 1)
    fail_errno("network", "hand out the listener");
}

}  // namespace lares::sandbox::launcher
