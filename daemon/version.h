#pragma once

namespace lares::daemon {

extern const char* const kVersion;  // the project's, as the build says it

}  // namespace lares::daemon
