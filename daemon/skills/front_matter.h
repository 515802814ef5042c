// The YAML that a Markdown file begins with, between two lines "---".
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

namespace lares::daemon {

inline constexpr std::size_t kFrontMatterBytesMax = 64u << 10;
inline constexpr int kFrontMatterDepthMax = 16;  // of lists and mappings; libyaml is slow in deep
                                                 // ones

struct FrontMatter {
  // Of the mapping, what has a single value; lists and mappings in it are passed over.
  std::map<std::string, std::string> fields;
  std::string_view body;  // what follows, of the text given
};

// The error says what is wrong with it and where, as the end of a sentence.
tl::expected<FrontMatter, std::string> front_matter(std::string_view text);

}  // namespace lares::daemon
