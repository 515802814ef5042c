// One server's process, the leader of its own process group, and the pipes to it.
#pragma once

#include <sys/types.h>

#include <string>
#include <tl/expected.hpp>

#include "mcp/config.h"

namespace lares::mcp {

struct Child {
  pid_t pid = -1;
  int in = -1, out = -1, err = -1;  // our ends, non-blocking: its stdin, stdout, stderr
  int pidfd = -1;                   // readable when it has ended
};

// Starts it in `root` (or the server's own cwd, relative to `root`) with a short environment: HOME,
// PATH and the like, and what the configuration adds. It is killed when the thread that started it
// ends. The reason follows "start NAME: ".
tl::expected<Child, std::string> start_child(const ServerConfig& server, const std::string& root);

// Kills the group and reaps its leader. Before the leader is reaped, never after: then the number
// may be another's. Asks politely first when `grace_ms` > 0. Returns how the leader ended: "exit
// status 1", "killed by signal 9".
std::string end_child(pid_t pid, int pidfd, int grace_ms);

}  // namespace lares::mcp
