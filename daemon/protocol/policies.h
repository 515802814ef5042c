// The policies of a session: what it may do unasked, and what people are told of each.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace lares::daemon::protocol {

struct Policy {
  std::string_view id, name, what;
  bool changes_nothing = false;
};
inline constexpr std::string_view kPlanPolicy = "plan";
inline constexpr std::array kPolicies{
    Policy{"auto", "Auto", "Works on its own; asks only before what could lose work"},
    Policy{"edits", "Edits", "Edits files unasked, asks before commands"},
    Policy{"ask", "Ask", "Asks before every change, and commands that can make one"},
    Policy{kPlanPolicy, "Plan", "Changes nothing, and says what it would do", true},
    Policy{"read-only", "Read-only", "Changes nothing, answers questions", true},
};
constexpr bool is_policy(std::string_view id) {
  return std::ranges::find(kPolicies, id, &Policy::id) != kPolicies.end();
}
constexpr bool changes_nothing(std::string_view id) {
  const auto found = std::ranges::find(kPolicies, id, &Policy::id);
  return found != kPolicies.end() && found->changes_nothing;
}
// "auto, edits, ask"
constexpr std::string policies_named(std::string_view between) {
  std::string out;
  for (const Policy& p : kPolicies) out.append(out.empty() ? "" : between).append(p.id);
  return out;
}
inline constexpr std::string_view kPolicyIds = "auto edits ask plan read-only";
static_assert(policies_named(" ") == kPolicyIds);

}  // namespace lares::daemon::protocol
