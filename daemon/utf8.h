// Text that leaves the daemon is UTF-8; what models and commands produce is bytes.
#pragma once

#include <string>
#include <string_view>

namespace lares::daemon {

// Every byte that is not part of a well-formed code point becomes U+FFFD.
std::string valid_utf8(std::string_view bytes);

// How many bytes at the end are the beginning of a code point that more bytes could complete (0-3).
std::size_t incomplete_tail(std::string_view bytes);

// The longest prefix of at most `n_max` bytes that does not cut a code point.
std::string_view utf8_prefix(std::string_view text, std::size_t n_max);

}  // namespace lares::daemon
