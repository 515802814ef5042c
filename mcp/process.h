// One server's process, the leader of its own process group, and the pipes to it.
#pragma once

#include <sys/types.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "mcp/mcp.h"

namespace lares::mcp {

// A running process group. Whoever holds it last kills it.
class Group {
 public:
  Group() = default;
  Group(pid_t leader, pid_t watchdog, int watch) : leader_(leader), watchdog_(watchdog), watch_(watch) {}
  Group(Group&& other) noexcept { *this = std::move(other); }
  Group& operator=(Group&& other) noexcept;
  ~Group() { kill(); }

  void terminate() const;  // asks politely
  // Kills the group and reaps its leader. Returns how the leader ended: "exit status 1", "killed by signal 9".
  std::string kill();

 private:
  pid_t leader_ = -1, watchdog_ = -1;
  int watch_ = -1;  // while it is open, the watchdog waits; it closes with this process, however that ends
};

struct Child {
  Group group;
  int in = -1, out = -1, err = -1;  // our ends, non-blocking: its stdin, stdout, stderr
  int pidfd = -1;                   // readable when the leader has ended
};

// Starts it in `root` (or the server's own cwd, relative to `root`) with a short environment: HOME, PATH and the like, and
// what the configuration adds. The group ends with this process, even when that is killed. The reason follows "start NAME: ".
tl::expected<Child, std::string> start_child(const ServerConfig& server, const std::string& root);

}  // namespace lares::mcp
