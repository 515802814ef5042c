// A second opinion on a shell script: bash's own parser, which reads it and runs nothing of it. The
// grammar misreads one honest script in twenty.
#pragma once

#include <atomic>
#include <chrono>
#include <string_view>

namespace lares::tools {

// Whether `bash -n` refuses the script. False also where nothing is known: it is another shell's by
// its first line, there is no /bin/bash, the deadline has passed, the look was cancelled. Blocks
// for some milliseconds.
bool bash_refuses(std::string_view script, std::chrono::steady_clock::time_point deadline,
                  const std::atomic<bool>& cancelled);

}  // namespace lares::tools
