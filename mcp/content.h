// What a server's results say, as text for the model.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace lares::mcp {

// Of tools/call, resources/read or prompts/get.
std::string result_text(const nlohmann::json& result);

}  // namespace lares::mcp
