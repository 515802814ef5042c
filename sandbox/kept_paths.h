// What a sandbox shows read-only, or without credentials, hangs on the file: one that somebody puts
// in its place, as editors and git do when they save, is not covered. So it is looked for.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace lares::sandbox {

// Device, inode, and when a directory was made or anything else changed.
using KeptId = std::tuple<dev_t, ino_t, std::int64_t>;

// By absolute path, of what there is: what programs outside obey in `root` (control_paths.h),
// `readonly`, and the configurations of the repositories among those.
std::map<std::string, KeptId> kept_paths(const std::string& root,
                                         const std::vector<std::string>& readonly);
// False: it is gone.
bool id_of_kept(const std::string& path, KeptId& out);

}  // namespace lares::sandbox
