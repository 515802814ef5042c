// How long this process's threads waited for a CPU although they had work.
#pragma once

#include <optional>

namespace lares::engine::bench {

// Seconds, summed over the threads since each began; nothing where the system does not say.
std::optional<double> run_delay();

}  // namespace lares::engine::bench
