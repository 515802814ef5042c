// Whether a file that a snapshot does not have was there all the same: what it left out, by name,
// and whether it names all of that.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "tools/snapshots/snapshots.h"

namespace lares::tools {

// Reasons of files that are told from others by them.
inline constexpr std::string_view kNoRegularFile = "not a regular file",
                                  kReadTorn =
                                      "changed while it was read; it is in the snapshot as read";

class LeftOut {
 public:
  explicit LeftOut(const Snapshot& snapshot);

  // The name under which the path was left out, its own or that of a directory above it (with a
  // '/'); null: under none.
  const PathReason* find(const std::string& path) const;
  // False: more was left out than is named, so that a path without a name may be of it.
  bool names_all() const;
  const std::map<std::string, PathReason>& all() const { return by_path_; }

 private:
  const Snapshot& snapshot_;
  std::map<std::string, PathReason> by_path_;
};

}  // namespace lares::tools
