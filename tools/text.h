// Bytes, lines and hashes of text files, as the model is shown them: UTF-8, LF line ends, no byte
// order mark.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lares::tools {

bool is_binary(std::string_view bytes);  // a NUL in the first 8 KiB, as git decides
bool is_utf8(std::string_view bytes);
// Every invalid sequence becomes one kReplacement.
std::string to_utf8(std::string_view bytes);
inline constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD
// The length of the valid UTF-8 character at `i`, 0 when there is none (overlong forms and
// surrogates included); then how long the sequence is that one kReplacement stands for.
std::size_t utf8_length(std::string_view bytes, std::size_t i);
std::size_t undecodable_length(std::string_view bytes, std::size_t i);
// The largest n <= `n` at which `text` can be cut without splitting a UTF-8 character.
std::size_t utf8_floor(std::string_view text, std::size_t n);

inline constexpr std::string_view kBom = "\xef\xbb\xbf";

// What the model sees of a file: byte order mark dropped, "\r\n" as "\n", invalid UTF-8 replaced.
std::string shown_text(std::string_view bytes);

// Lines without their "\n"; a final "\n" starts no further line.
std::vector<std::string_view> split_lines(std::string_view text);

std::string_view trimmed(std::string_view text);  // without blanks, tabs and line ends around it

// SHA-1 of git's blob for these bytes, 40 hex digits.
std::string blob_sha(std::string_view bytes);

// Unified, three lines of context, at most `bytes_max`; "" when equal or binary.
std::string unified_diff(const std::string& path, std::string_view before, std::string_view after,
                         std::size_t bytes_max);

}  // namespace lares::tools
