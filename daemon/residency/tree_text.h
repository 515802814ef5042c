// The list of all files at the head of a base: each directory once, names indented below it, and
// after a file that is not shown in full the reason.
#pragma once

#include <string>
#include <vector>

namespace lares::daemon {

struct TreeEntry {
  std::string path;
  std::string reason;           // "" when it is shown in full
  bool may_be_counted = false;  // one of many of its kind: a directory of nothing else is one line
};

// How much of it is written out.
struct TreeShape {
  int depth_max = 1 << 20;          // directories below are one line
  std::size_t names_max = 1 << 30;  // of files in one directory, and of directories
};

// `entries` in bytewise path order; `notes` are lines of their own at the end.
std::string tree_text(const std::vector<TreeEntry>& entries, const TreeShape& shape,
                      const std::vector<std::string>& notes);

// The fullest shape whose text has at most `bytes_max`, else the barest.
TreeShape tree_shape(const std::vector<TreeEntry>& entries, std::size_t bytes_max,
                     const std::vector<std::string>& notes);

}  // namespace lares::daemon
