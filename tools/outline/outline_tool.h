// The `outline` tool: the definitions in a file or below a directory, with their line numbers, or
// the source of those of one name, by tree-sitter.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "tools/builtin.h"

namespace lares::tools {

std::unique_ptr<Tool> make_outline_tool(asio::any_io_executor io, const BuiltinOptions& options);

}  // namespace lares::tools
