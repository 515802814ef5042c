// PID 1 of the sandbox: starts the command, reaps what is orphaned, and has the memory of the whole
// tree watched.
#pragma once

#include <string>

#include "sandbox/launcher/group.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

// Tells the daemon that it starts, with `facts`; writes the command's wait status to `status` and
// ends when the command does, which kills all that is left in the namespace. The command alone is
// in `group`, so that whoever kills that leaves PID 1 to say why.
[[noreturn]] void run_as_init(const Spec& spec, const std::string& facts, CommandGroup group,
                              int status);

}  // namespace lares::sandbox::launcher
