// The subcommand `lares mcp`.
#pragma once

namespace lares::cli {

int mcp_command(int argc, const char* const* argv);  // lares mcp

}  // namespace lares::cli
