// The files that can be outlined, and their text.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "tools/git/kept_view.h"
#include "tools/workspace/rooted_fs.h"

namespace lares::tools {

inline constexpr auto kOutlineFileTime = std::chrono::seconds(2);    // to parse one file
inline constexpr auto kOutlineTotalTime = std::chrono::seconds(20);  // for one call

struct Listing {
  // In languages that are built in, relative to the root, in bytewise order
  std::vector<std::string> files;
  std::size_t n_entries = 0;
  bool complete = true;  // false: there are more than one call looks at
};

inline constexpr std::size_t kOutlinedMax = 2'000;  // files that are parsed
// Files that are read for a name: 20,000 take a second
inline constexpr std::size_t kSearchedMax = 100'000;

// Below `path`, a directory relative to the root; what git ignores is left out.
Listing list_sources(const RootedFs& fs, const std::string& path, std::size_t files_max,
                     KeptView& git);

struct Source {
  std::string text;     // as `view` shows it
  std::string path;     // relative to the root, after symlinks
  std::string skipped;  // why it is not outlined, as a predicate: "is binary"
};

Source read_source(const RootedFs& fs, const std::string& path);

std::string files_text(std::size_t n);  // "1 file", "12 files"

}  // namespace lares::tools
