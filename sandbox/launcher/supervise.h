// The launcher's own process, on the host: waits for the command or for the daemon's end of file,
// and reports how it ended.
#pragma once

#include <sys/types.h>

#include "sandbox/launcher/growth.h"
#include "sandbox/launcher/later.h"
#include "sandbox/launcher/sys.h"

namespace lares::sandbox::launcher {

// Of ours: the command's output ends when the command does, not when we do.
void close_streams();

// The line for its output.
std::string told_of_kill(const std::string& why);

// As a command ended whose wait status this is, so that whoever waits for us sees the same.
[[noreturn]] void end_as(int status);

// `status`: where PID 1 writes the command's wait status as an int; -1 when the child itself is the
// command. Returns when the child is gone and, as a subreaper, everything it left behind; by
// exiting or dying as the command did. `later`: what the daemon asks for meanwhile. `growth`: to be
// watched here, for nobody inside does.
[[noreturn]] void supervise(pid_t pid, Fd pidfd, int status, const Later& later,
                            Growth* growth = nullptr);

}  // namespace lares::sandbox::launcher
