// Where the characters of UTF-8 text begin. The other way, utf8_floor() is text.h's.
#pragma once

#include <cstddef>
#include <string_view>

namespace lares::tools {

// The smallest m >= `n` at which `text` can be cut without splitting a UTF-8 character.
std::size_t utf8_ceiling(std::string_view text, std::size_t n);
std::size_t n_characters(std::string_view text);  // of UTF-8: bytes that continue none

}  // namespace lares::tools
