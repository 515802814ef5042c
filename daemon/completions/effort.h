// How hard the model is asked to think: the words of clients, and what a checkpoint knows.
#pragma once

#include <optional>
#include <string_view>

namespace lares::daemon {

struct Effort {
  bool thinking = true;
  std::string_view name;  // Conversation::effort; empty where it does not think
};
// "none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra", as all dialects spell them;
// nullopt: none of these.
std::optional<Effort> effort_of(std::string_view word);
inline constexpr std::string_view kEffortWords =
    "none, minimal, low, medium, high, xhigh, max or ultra";

// What encode_chat() is given for it: the nearest that this generation of checkpoints knows.
std::string_view effort_known(std::string_view name, std::string_view generation);

}  // namespace lares::daemon
