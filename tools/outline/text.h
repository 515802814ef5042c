// A source file as its definitions' signatures alone, for what does not fit in full.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lares::tools {

inline constexpr std::size_t kOutlineTextBytesMax = 12'000;

// A signature a line, indented by what encloses it, at most kOutlineTextBytesMax with the deepest
// left out first; nullopt where there is no grammar for it (or for anything, in a build without
// grammars), no definition, or no end to the parsing.
std::optional<std::string> outline_text(const std::string& path, std::string_view text);

}  // namespace lares::tools
