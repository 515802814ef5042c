// What a path that is not there was probably meant to be, so that the next call is the right one.
#pragma once

#include <string>

namespace lares::tools {

class KeptView;

inline constexpr std::size_t kPathHintsMax = 3;

// " There is src/a.py." or " There are a/x.py, b/x.py and 4 more.", files of the same name
// elsewhere below `root`, those nearest to the path first; else " The directory src is there, lib
// is not in it."; "" where there is nothing to say. `path` relative to the root; the names as the
// calling tool takes them, `prefix` before each.
std::string path_hint(const std::string& root, const std::string& path,
                      const std::string& prefix = "");
// The same below the root of `git`, which need not be opened for it.
std::string path_hint(KeptView& git, const std::string& path, const std::string& prefix = "");

}  // namespace lares::tools
