// What directories of a worktree hold: names, and what stat says of them. Nearly all of a listing's
// time goes here, and the kernel can do it for several threads at once.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tools/workspace/file_stamp.h"
#include "tools/workspace/plain_tree.h"

namespace lares::tools {

struct DirectoryEntry {
  std::string name;
  FileStamp stamp;  // of a directory its mode alone
  bool is_directory() const { return S_ISDIR(stamp.mode); }
};
// git's order of names in a tree: a directory's counts with its '/', so that a walk in this order
// meets files in the order of their paths.
bool comes_before(std::string_view a, bool a_is_directory, std::string_view b, bool b_is_directory);

struct DirectoryLook {
  std::vector<DirectoryEntry> entries;  // in that order
  int error = 0;                        // errno; then there are none
};

class DirectoryLooks {
 public:
  // No directory is read beyond `entries_max` names. `tree` outlives it.
  DirectoryLooks(const PlainTree& tree, std::size_t entries_max)
      : tree_(tree), entries_max_(entries_max) {}

  // Looks at these now, for take(). Only hurries.
  void ahead(const std::vector<std::string>& directories);
  DirectoryLook take(const std::string& directory);

 private:
  DirectoryLook look(const std::string& directory) const;

  const PlainTree& tree_;
  const std::size_t entries_max_;
  std::unordered_map<std::string_view, DirectoryLook> ahead_;
};

}  // namespace lares::tools
