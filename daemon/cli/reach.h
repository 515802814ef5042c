// Reaching the daemon from a terminal: whoever waits for one that begins sees that.
#pragma once

#include "daemon/client/start.h"

namespace lares::cli {

Result<Reached> reach(Link& link, const DaemonAddress& address);

}  // namespace lares::cli
