// The policies of a session, as people are told of them.
#pragma once

#include <array>
#include <string_view>

namespace lares::cli {

struct Policy {
  std::string_view id, name, what;
};
inline constexpr std::array kPolicies{
    Policy{"auto", "Auto", "Works on its own; asks only before what could lose work"},
    Policy{"edits", "Edits", "Edits files unasked, asks before commands"},
    Policy{"ask", "Ask", "Asks before every change and command"},
    Policy{"plan", "Plan", "Changes nothing, and says what it would do"},
    Policy{"read-only", "Read-only", "Changes nothing, answers questions"},
};

}  // namespace lares::cli
