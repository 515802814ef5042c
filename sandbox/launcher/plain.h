// A command with all of the user's rights, for those who opted out of the sandbox: what is left is
// its death with the daemon's.
#pragma once

#include <sys/types.h>

#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

// In this process's own group, so that whoever started us kills all of it by one number; and we do,
// when they die. `mask`: the umask that the command is to have.
[[noreturn]] void run_plain(const Spec& spec, mode_t mask);

}  // namespace lares::sandbox::launcher
