// Where Lares keeps files of its own: sessions, tokens, settings. Such a directory says so by a
// mark in it, whichever daemon's it is, and is no part of a worktree that it happens to lie in.
#pragma once

#include <string>
#include <string_view>

namespace lares::tools {

class RootedFs;

inline constexpr std::string_view kOwnMark = ".lares-own";

// Makes the mark, if it can: a directory that cannot be written has it or does without.
void mark_as_own(const std::string& directory);

// Whether the path is such a directory or lies in one, the root itself not counted.
bool lies_in_own(const RootedFs& fs, std::string_view path);

}  // namespace lares::tools
