#include "sandbox/launcher_bwrap.h"

#include "sandbox/launcher_sys.h"

namespace lares::sandbox::launcher {

void run_bubblewrap(const Spec&) { fail("bubblewrap", "not available"); }

}  // namespace lares::sandbox::launcher
