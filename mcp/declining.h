// What stands for "no" among the answers to a server's question: any other text is a value.
#pragma once

#include <string_view>

namespace lares::mcp {

inline constexpr std::string_view kDecline = "/decline";  // the person does not want to say
inline constexpr std::string_view kCancel = "/cancel";    // nobody decided

}  // namespace lares::mcp
