// A prompt that calls something by its name, "/NAME ...", where nothing is called so: as a prompt
// it would reach the model without a word, and the skill would not.
#pragma once

#include <string>
#include <string_view>

#include "daemon/skills/skills.h"

namespace lares::cli {

// The skill that `name` is a slip of: one wrong letter or two swapped, two of them in a name of
// seven letters or more, none in one of less than four. Empty: none.
std::string_view skill_meant(std::string_view name, const daemon::Skills& skills);

// Of "/NAME": there is such a file, of the system or, as people write it, of the repository at
// `root`.
bool begins_path(std::string_view name, const std::string& root);

// Why a prompt from the command line is not sent to work in the repository at `root`, and what to
// do. Empty: it is to be sent, be it a call of a skill, or a path, or text that happens to begin
// with a slash. Blocks.
std::string mistyped_call(std::string_view prompt, const std::string& root);

}  // namespace lares::cli
