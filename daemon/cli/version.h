// The version that `lares --version` prints and daemons log about their clients. A test holds it
// against CMake's.
#pragma once

namespace lares::cli {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace lares::cli
