// The repository as text: which files the model sees, in which order, and how they are written into
// the prompt.
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

struct WorkspaceOptions {
  std::string root;  // absolute
  std::uint64_t file_bytes_max = 256 << 10;
  // Of shown content; beyond it files are listed as path only
  std::uint64_t total_bytes_max = 3 << 20;
};

// Files git would track (tracked or untracked but not ignored); outside a repository every file
// below the root. In bytewise path order. The same tree gives the same list whatever the locale or
// directory order.
Result<std::vector<File>> list_files(const WorkspaceOptions& options);

// One file's text in the prompt: <file path="src/a.cc" lines="812" sha="1a2b3c4d">\n...\n</file>\n,
// where sha is the first eight hex digits of SHA-1 of git's blob for the content.
std::string render_file(const File& file);
// The same bytes; an outlined file's are its header and `outline`, one signature a line.
std::string render_file(const SourceFile& file, std::string_view outline = "");
// A name as it stands in an attribute or in a list: on one line and inside its quotes, whatever the
// file is called.
std::string attribute_text(std::string_view path);
// Everything between the tool catalogue and the first user turn.
std::string render_repository(const std::vector<File>& files);

}  // namespace lares::tools
