// Where nano lies, the small model that comes with Lares.
#pragma once

#include <string>

namespace lares::daemon {

// ../share/lares/nano beside an installed executable, else the source tree this was built from.
std::string nano_directory();

}  // namespace lares::daemon
