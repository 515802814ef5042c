// From a Policy and a Command to the launcher's Spec: what is refused outright, and the environment
// a command gets.
#pragma once

#include <string>
#include <vector>

#include "sandbox/sandbox.h"
#include "sandbox/spec.h"

namespace lares::sandbox {

// Hidden and read-only paths together; each becomes a mount
inline constexpr std::size_t kCoversMax = 16'384;
Error too_many_covers(std::size_t n);

// The scrubbed environment: an allow-list of the caller's own variables, fixed ones that keep
// programs from asking or paging, then `extra` (NAME=value, which win).
std::vector<std::string> environment(Backend backend, const std::string& home,
                                     const std::vector<std::string>& extra);

// Errc::refused names the rule that was broken.
Result<Spec> compile(Backend backend, const Policy& policy, const Command& command);

}  // namespace lares::sandbox
