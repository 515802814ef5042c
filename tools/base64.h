// Base64 with padding and the standard alphabet, RFC 4648 section 4.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lares::tools {

std::string to_base64(std::string_view bytes);  // of 1 GiB at the most
// Strict: nothing where the text is not of whole groups, is padded anywhere but at its end, or has
// a character of another alphabet, blanks and line breaks included. Bits that the last group does
// not need are not looked at, as section 3.5 lets a decoder do.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace lares::tools
