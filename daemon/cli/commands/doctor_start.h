// What `lares doctor` says where no daemon runs: whether one could.
#pragma once

#include <vector>

#include "daemon/cli/commands/doctor_work.h"
#include "daemon/client/start.h"

namespace lares::cli {

void look_at_start(const DaemonAddress& daemon, std::vector<Finding>& out);

}  // namespace lares::cli
