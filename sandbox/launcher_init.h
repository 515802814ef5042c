// PID 1 of the sandbox: starts the command, reaps what is orphaned, and watches the memory of the whole tree.
#pragma once

#include <string>

#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

// Tells the daemon that it starts, with `facts`; writes the command's wait status to `status` and ends when the command does,
// which kills all that is left in the namespace.
[[noreturn]] void run_as_init(const Spec& spec, const std::string& facts, int status);

}  // namespace lares::sandbox::launcher
