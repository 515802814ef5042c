// The whole source of the definitions of one name.
#pragma once

#include <string>

#include "tools/off_thread.h"
#include "tools/rooted_fs.h"

namespace lares::tools {

// In the file or below the directory `path`, which is relative to the root and exists. `name` is an
// identifier, or one inside another: A.m, A::m, A#m.
Outcome show_definitions(const RootedFs& fs, const std::string& path, const std::string& name,
                         const Cancelled& cancelled);

}  // namespace lares::tools
