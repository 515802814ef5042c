// Percent-encoding, RFC 3986 section 2.1.
#pragma once

#include <string>
#include <string_view>

namespace lares::daemon {

// The bytes that `text` stands for, of whatever encoding. What is no code of a byte stays as it is.
std::string percent_decoded(std::string_view text);

}  // namespace lares::daemon
