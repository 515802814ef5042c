// What a snapshot knows of the worktree's directories beside its tree, which has none but those
// above its files and says nothing of their permissions.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace lares::tools {

struct ListedDirectory;

inline constexpr std::size_t kSnapshotDirectoriesMax = 500;  // named in a snapshot

struct SnapshotDirectory {
  std::string path;
  unsigned mode = 0;   // permissions
  bool empty = false;  // no file of the snapshot lies below it
  bool operator==(const SnapshotDirectory&) const = default;
};

struct SnapshotDirectories {
  // The permissions of those that are not named. 0: nothing is known of any, for the snapshot is an
  // older version's, or more than kSnapshotDirectoriesMax are empty.
  unsigned usual_mode = 0;
  // In bytewise order: the empty ones, and those with other permissions where there is room for
  // all.
  std::vector<SnapshotDirectory> named;
  bool modes_left_out = false;  // there was no room: those of the others are not known

  bool operator==(const SnapshotDirectories&) const = default;
  // Which are empty.
  bool known() const { return usual_mode != 0; }
  const SnapshotDirectory* find(const std::string& path) const;  // null: it is not named
  unsigned mode_of(const std::string& path) const;               // 0: it is not known
};

// `listed` in path order. `has_files`: whether the path of a file of the snapshot begins so.
SnapshotDirectories directories_of(const std::vector<ListedDirectory>& listed,
                                   const std::function<bool(const std::string&)>& has_files);

}  // namespace lares::tools
