// The policies of a session, as people are told of them.
#pragma once

#include <array>
#include <string_view>

namespace lares::cli {

struct Policy {
  std::string_view id, name, what;
};
inline constexpr std::string_view kPlanPolicy = "plan";
inline constexpr std::array kPolicies{
    Policy{"auto", "Auto", "Works on its own; asks only before what could lose work"},
    Policy{"edits", "Edits", "Edits files unasked, asks before commands"},
    Policy{"ask", "Ask", "Asks before every change, and commands that can make one"},
    Policy{kPlanPolicy, "Plan", "Changes nothing, and says what it would do"},
    Policy{"read-only", "Read-only", "Changes nothing, answers questions"},
};
constexpr bool changes_nothing(std::string_view policy) {
  return policy == kPlanPolicy || policy == "read-only";
}

}  // namespace lares::cli
