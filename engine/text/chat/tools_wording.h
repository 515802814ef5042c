// The release's instructions around function objects that are already JSON text, one a line.
#pragma once

#include <string>
#include <vector>

namespace lares::engine {

std::string tools_wording(const std::vector<std::string>& functions);

}  // namespace lares::engine
