// Writes the user's settings; reading them is settings.h.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "daemon/client/error.h"
#include "tools/fd.h"

namespace lares::cli {

// Keeps other processes that would change it waiting, as long as what is returned lives. They are
// told to do without it after 10 seconds.
Result<tools::Fd> hold_settings_file(const std::string& path);

// The whole file or, on an error, the one there was. 0600; directories that are missing are made, a
// symbolic link is followed.
Result<> write_settings_file(const std::string& path, const nlohmann::ordered_json& object);

}  // namespace lares::cli
