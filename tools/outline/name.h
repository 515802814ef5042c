// The whole source of the definitions of one name.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tools/git/kept_view.h"
#include "tools/off_thread.h"
#include "tools/workspace/rooted_fs.h"

namespace lares::tools {

// In the file or below the directory `path`, which is relative to the root and exists. `name` is an
// identifier, or one inside another: A.m, A::m, A#m.
Outcome show_definitions(const RootedFs& fs, const std::string& path, const std::string& name,
                         KeptView& git, const Cancelled& cancelled);

// Every name that `show_definitions` would find in the repository, alone and inside its scope
// (A.m); none when there are none, more than kNamesAskedMax, or the time does not suffice.
inline constexpr std::size_t kNamesAskedMax = 5'000;
std::optional<std::vector<std::string>> definition_names(const RootedFs& fs, KeptView& git,
                                                         std::chrono::milliseconds time);

}  // namespace lares::tools
