// Writes the user's settings; reading them is settings.h.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "daemon/cli/error.h"

namespace lares::cli {

// The whole file or, on an error, the one there was. 0600; directories that are missing are made, a symbolic link is followed.
Result<> write_settings_file(const std::string& path, const nlohmann::ordered_json& object);

}  // namespace lares::cli
