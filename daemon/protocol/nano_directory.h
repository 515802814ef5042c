// Where nano lies, the small model that comes with Lares.
#pragma once

#include <string>

namespace lares::daemon {

// ../share/lares/nano beside an installed executable, else the source tree this was built from.
std::string nano_directory();

inline constexpr const char* kNano = "nano";
// What people and API clients are told of the model in a directory: kNano, or the directory's name.
std::string name_of_model(const std::string& directory);

}  // namespace lares::daemon
