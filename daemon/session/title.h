// What a session is called.
#pragma once

#include <string>
#include <string_view>

namespace lares::daemon {

inline constexpr std::size_t kTitleBytesMax = 80;

// The first line of it that says something, bounded; empty: none does.
std::string title_of(std::string_view text);

}  // namespace lares::daemon
