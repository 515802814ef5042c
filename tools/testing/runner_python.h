// How a Python project's tests are run: by pytest or by unittest.
#pragma once

#include <optional>

#include "tools/testing/project.h"

namespace lares::tools {

// The asked path is a file with Python tests.
bool asks_for_python_test(const Project& project);
// Something besides its tests says that the directory is a Python project. A file that only
// configures a formatter does not.
bool is_python_project(const Project& project);
// Weak where only test files lie there.
std::optional<Runner> python(const Project& project);

}  // namespace lares::tools
