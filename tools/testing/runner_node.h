// How a JavaScript project's tests are run: by what its `test` script says, else by what lies
// there.
#pragma once

#include <optional>

#include "tools/testing/project.h"

namespace lares::tools {

// By its package.json.
std::optional<Runner> node_package(const Project& project);
// By the names of its files. Weak where they lie beside everything else.
std::optional<Runner> node_files(const Project& project);

}  // namespace lares::tools
