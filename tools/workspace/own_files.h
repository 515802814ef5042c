// Where Lares keeps files of its own: sessions, tokens, settings. Such a directory says so by a
// mark in it, whichever daemon's it is, and is no part of a worktree that it happens to lie in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sandbox/secret_names.h"

namespace lares::tools {

class RootedFs;

inline constexpr std::string_view kOwnMark = sandbox::kOwnMark;

// Makes the mark, if it can: a directory that cannot be written has it or does without. From now on
// no command of this process is shown the directory, wherever it lies and even when it is made
// later. May be called on any thread.
void mark_as_own(const std::string& directory);

// What was marked by this process: absolute, without links, in order.
std::vector<std::string> own_directories();

// Whether the path is such a directory or lies in one, the root itself not counted.
bool lies_in_own(const RootedFs& fs, std::string_view path);

}  // namespace lares::tools
