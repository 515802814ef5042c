// One skill's file: its name, what it is for and its text.
#pragma once

#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "daemon/skills/front_matter.h"
#include "daemon/skills/skills.h"

namespace lares::daemon {

bool is_skill_name(std::string_view name);    // lower-case letters, digits and hyphens
bool is_command_name(std::string_view name);  // and upper-case ones and underscores: any call's

// For people: nothing in it is more than it seems.
std::string one_line(std::string_view text);

// The text as the model is shown files. The user's own may be links to wherever the user keeps
// them; the repository's lead nowhere out of it. `path` is below `root`, or absolute and the user's
// own; `whole`: not only its head. The error is the end of a sentence. Blocks.
tl::expected<std::string, std::string> read_skill(const std::string& root, const std::string& path,
                                                  bool whole);

// A command may be nothing but its text.
tl::expected<FrontMatter, std::string> head_of(std::string_view text, bool is_command);

tl::expected<Skill, std::string> skill_of(const std::string& text, const std::string& path,
                                          bool is_command);

// What a prompt calls it by where it says no name: its directory's, or a command's file's.
std::string name_by_path(const std::string& path, bool is_command);

}  // namespace lares::daemon
