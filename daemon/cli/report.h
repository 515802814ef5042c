// The daemon's answers as a person reads them: lines of text, each with its end.
#pragma once

#include <string>
#include <vector>

#include "daemon/cli/terminal/screen.h"
#include "daemon/protocol/protocol.h"

namespace lares::cli {

std::string status_text(const daemon::protocol::ServerStatusResult& status);
// A table, cut to the width of `terminal`; `all`: of several repositories, so their roots stand
// with them.
std::string sessions_text(const std::vector<daemon::protocol::SessionInfo>& sessions,
                          const std::string& root, const Terminal& terminal);
std::string prefix_text(const daemon::protocol::RepoPrefixResult& prefix, bool files);
std::string bytes_text(double n);  // "35 kB", "1.5 MB", "149.0 GB"
// How long ago that was, Unix time: "5m", "3d".
std::string age(std::int64_t ms);

// What going back (or forth again) did, or would do, to the files.
enum class Rewound { would, done, undone };
std::string rewind_text(const daemon::protocol::SessionRewindResult& done, Rewound how);

}  // namespace lares::cli
