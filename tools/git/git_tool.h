// The `git` tool: status, diff, log, show, blame, add, commit, branch and switch through libgit2, so no hook,
// filter or pager of the repository ever runs.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "tools/builtin.h"

namespace lares::tools {

std::unique_ptr<Tool> make_git_tool(asio::any_io_executor io, const BuiltinOptions& options);

}  // namespace lares::tools
