// Background jobs of a session's tools.
#pragma once

#include <memory>
#include <vector>

#include "tools/tool.h"

namespace lares::tools {

// Whether one runs, as far as was heard: Tool::news() tells its end.
bool any_job_runs(const std::vector<std::unique_ptr<Tool>>& tools);

}  // namespace lares::tools
