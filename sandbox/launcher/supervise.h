// The launcher's own process, on the host: waits for the command or for the daemon's end of file,
// and reports how it ended.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "sandbox/launcher/later.h"
#include "sandbox/launcher/sys.h"

namespace lares::sandbox::launcher {

// Of ours: the command's output ends when the command does, not when we do.
void close_streams();

// Says on `output`, a pipe, why the tree was killed: when it is gone, for while nobody reads there
// may be no room, and whoever is left fills what is made. Never waits; where none can be made,
// nothing is said.
void tell_of_kill(int output, const std::string& why);

// As a command ended whose wait status this is, so that whoever waits for us sees the same.
[[noreturn]] void end_as(int status);

// `status`: where PID 1 writes the command's wait status as an int; -1 when the child itself is the
// command. Returns when the child is gone and, as a subreaper, everything it left behind; by
// exiting or dying as the command did. `later`: what the daemon asks for meanwhile. `over`: why the
// tree must end, or ""; asked four times a second where nobody inside watches, else empty.
[[noreturn]] void supervise(pid_t pid, Fd pidfd, int status, const Later& later,
                            const std::function<std::string()>& over = nullptr);

}  // namespace lares::sandbox::launcher
