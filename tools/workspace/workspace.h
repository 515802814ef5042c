// One file of a repository as text: how it is written into the prompt.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/tool.h"
#include "tools/workspace/source_file.h"

namespace lares::tools {

struct File {
  std::string path;     // relative to the root, '/' separated
  std::string content;  // LF line ends; empty when skipped
  // Why the content is not shown: "binary", "secret", "too large", "lock file", "over budget", ...;
  // "" when shown
  std::string skipped;
  std::uint64_t n_bytes = 0;
};

// One file's text in the prompt: <file path="src/a.cc" lines="812" sha="1a2b3c4d">\n...\n</file>\n,
// where sha is the first eight hex digits of SHA-1 of git's blob for the content.
std::string render_file(const File& file);
// The same bytes; an outlined file's are its header and `outline`, one signature a line.
std::string render_file(const SourceFile& file, std::string_view outline = "");
// A name as it stands in an attribute or in a list: on one line and inside its quotes, whatever the
// file is called.
std::string attribute_text(std::string_view path);

}  // namespace lares::tools
