// HTTP headers that repeat parts of a request, as revision 2026-07-28 has them: Mcp-Name, and
// Mcp-Param-* for the arguments that a tool's schema marks with x-mcp-header.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace lares::mcp {

struct ParamHeader {
  std::vector<std::string> path;  // of the argument, through nested objects
  std::string name;               // without "Mcp-Param-"
};

// The marks of a tool's inputSchema. The reason why they cannot be used, and the tool with them,
// follows "its schema ".
tl::expected<std::vector<ParamHeader>, std::string> find_param_headers(
    const nlohmann::json& schema);

// Arguments that are absent or null get no header.
std::vector<std::pair<std::string, std::string>> param_headers(
    const std::vector<ParamHeader>& marks, const nlohmann::json& arguments);

// As a header can carry it: itself, or =?base64?...?=
std::string header_value(std::string_view text);

}  // namespace lares::mcp
