// A file that a command is to write: refused before any work where it would overwrite what it must
// not.
#pragma once

#include <string>
#include <vector>

#include "daemon/client/error.h"

namespace lares::cli {

// Whether `path` may be written: it is none of `inputs` and no file that lies in `checkpoint` (by
// whatever name or link), it is not there, a regular file, a pipe or a character device such as
// /dev/stdout, and whoever runs this may write it. "-" is refused; with `to_stdout` it is
// /dev/stdout. Returns what to open.
Result<std::string> output_path(const std::string& path, const std::vector<std::string>& inputs,
                                const std::string& checkpoint, bool to_stdout);

}  // namespace lares::cli
