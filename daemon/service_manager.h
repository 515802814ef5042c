// systemd, or whoever else started the daemon and wants to know when it is ready (sd_notify(3)).
#pragma once

#include <string>
#include <string_view>

namespace lares::daemon {

class ServiceManager {
 public:
  ServiceManager();  // takes $NOTIFY_SOCKET out of the environment: what the daemon starts is not
                     // it
  // "READY=1", "STOPPING=1". Nobody listens: nothing happens. A message that cannot be sent is as
  // good as none.
  void tell(std::string_view state) const;

 private:
  std::string socket_;
};

}  // namespace lares::daemon
