// Memory and number of all processes in the sandbox, for hosts without a control group to hold
// them.
#pragma once

#include <string>

#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

// Why the tree must end, or "". Counts what cannot be dropped, each page once: anonymous and shared
// memory, files that exist in memory only (memfd, System V segments); not tmpfs, which has sizes of
// its own. A process that hides itself (a program it may not read) is counted by what it maps
// alone, and that in full.
std::string over_limit(const Spec& spec);

// The same words when it was the kernel that found out.
std::string too_much_memory(const Spec& spec);

}  // namespace lares::sandbox::launcher
