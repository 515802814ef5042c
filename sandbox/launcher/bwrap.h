// The second backend: Debian's bubblewrap, where our own namespaces are not allowed but its are
// (AppArmor profiles by path).
#pragma once

#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

[[noreturn]] void run_bubblewrap(const Spec& spec);

}  // namespace lares::sandbox::launcher
