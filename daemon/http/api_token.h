// What clients over TCP must know: who can read the file in the state directory is this user.
#pragma once

#include <string>

#include <tl/expected.hpp>

namespace lares::daemon {

// The text of STATE_DIR/api-token, which is made (0600) where it is missing and is the same for
// every daemon afterwards. The error is one line: a token that others can read, or that is too
// short to be secret, is none.
tl::expected<std::string, std::string> api_token(const std::string& state_dir);

}  // namespace lares::daemon
