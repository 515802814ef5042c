// What the grammars in use are known to misread in honest code.
#pragma once

#include <string_view>

#include "tools/outline/languages.h"

namespace lares::tools {

bool is_c_family(const Language& language);

// Whether an error in the line says more of the grammar than of the line: what a language has got
// since, and in C and C++ macros and templates.
bool is_gap(const Language& language, std::string_view line);

}  // namespace lares::tools
