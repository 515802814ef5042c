// The model as it is played to other programs' agents: it finds the tool that writes files among
// theirs, and calls it as they declare it.
#pragma once

#include <chrono>
#include <string_view>

#include "tests/daemon/scripted/scripted_engine.h"

namespace lares::daemon {

// The user wrote `[[write PATH]]`: the first answer calls the client's own tool so that PATH holds
// kWritten, the one after the tool's result says that it is done. Without the mark or without
// tools: a short text, as for a title.
Play writes_file(std::string_view prompt);
inline constexpr std::string_view kWritten = "hello from Lares\n";

// What befalls its answers that call a tool.
struct Mishaps {
  std::chrono::microseconds pause{0};  // before every token
  int n_broken = 0;  // so many of them, the first ones, fail within the call's arguments
};
// Also says what said_by_prompt() does, to those who wrote that.
Director writes_file_with(Mishaps mishaps);

}  // namespace lares::daemon
