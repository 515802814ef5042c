// What `make` may run, read from a makefile's text: the recipes of its goals and of what they need,
// as a shell script. Nothing is run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lares::tools {

// `goals`: none is the first target. A rule is left out only where its targets are plain names that
// no goal leads to; what the text does not decide (pattern rules, targets and prerequisites by
// variables that are not set here) is taken. Variables of make that the text does not set become
// variables of the shell.
std::string makefile_recipes(std::string_view makefile, const std::vector<std::string>& goals);

// The files that `include` names.
std::vector<std::string> makefile_includes(std::string_view makefile);

}  // namespace lares::tools
