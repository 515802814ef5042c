// The suffixes of a text in order: whoever looks for a stretch of it finds all its places side by
// side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace lares::engine {

// Of the text: places are 32 bits
inline constexpr std::size_t kSuffixArrayBytesMax = std::size_t{1} << 30;

// [text.size()]: where the suffixes begin, in the order of their bytes; one that another begins
// with stands before it. Linear in the text's size. Source: Nong, Zhang and Chan, "Two Efficient
// Algorithms for Linear Time Suffix Array Construction", IEEE Transactions on Computers 60(10),
// 2011.
std::vector<std::uint32_t> suffix_array(std::string_view text);

}  // namespace lares::engine
