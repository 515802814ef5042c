// Which commands lose history not by git but by its files: what lies in a .git.
#pragma once

#include <string_view>

#include "tools/shell/commands.h"

namespace lares::tools {

// It removes them or overwrites those that hold history: `rm -rf .git`, `find . -name .git -exec rm
// -rf {} +`, `truncate -s 0 .git/HEAD`.
bool loses_git_files(const ShellReading& reading);
// Redirecting into it does.
bool holds_history(std::string_view path);
// It lists directories called .git (`find . -name .git`), for others to remove.
bool finds_git_dirs(const ShellReading& reading);
// It removes what its text does not name: `xargs rm -rf`, `rm -rf "$x"`.
bool removes_what_is_given(const ShellReading& reading);

}  // namespace lares::tools
