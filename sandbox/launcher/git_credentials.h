// The credentials in a git configuration's text.
#pragma once

#include <string>
#include <string_view>

namespace lares::sandbox::launcher {

// `config` without the users and passwords of addresses, their queries, and the values of settings
// that are secrets or hold one, as a helper that prints it. What a line goes on in goes with it.
std::string without_credentials(std::string_view config);

}  // namespace lares::sandbox::launcher
