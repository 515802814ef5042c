#pragma once

namespace lares::daemon {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace lares::daemon
