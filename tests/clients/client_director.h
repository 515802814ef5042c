// The model as it is played to other programs' agents: it finds the tool that writes files among theirs, and calls it as they declare it.
#pragma once

#include <string_view>

#include "tests/daemon/scripted_engine.h"

namespace lares::daemon {

// The user wrote `[[write PATH]]`: the first answer calls the client's own tool so that PATH holds kWritten, the one after the tool's
// result says that it is done. Without the mark or without tools: a short text, as for a title.
Play writes_file(std::string_view prompt);
inline constexpr std::string_view kWritten = "hello from Lares\n";

}  // namespace lares::daemon
