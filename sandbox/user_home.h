// Whose machine this is.
#pragma once

#include <string>

namespace lares::sandbox {

// The home directory of the user this process runs as: $HOME, else from the password database, with
// its links resolved; "" when there is none to speak of.
std::string user_home();

}  // namespace lares::sandbox
