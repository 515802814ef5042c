// A file's diff as a part of a patch, which says besides whether there was a file, is one, and of
// what mode: without, `git apply` leaves what was removed behind, empty.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace lares::tools {

inline constexpr unsigned kPlainFile = 0100644;  // git's modes; 0100755, 0120000 a symbolic link

// `diff` is unified_diff()'s (text.h) of `path`, empty where the contents are equal; nullopt: there
// is no file. Nothing but `diff` itself where the mode stays; both modes are of the same type.
std::string file_patch(const std::string& path, std::string diff,
                       std::optional<unsigned> mode_before, std::optional<unsigned> mode_after);

// To at most `bytes_max` of its lines, behind which one says how many bytes more there were. False:
// it has no more.
bool cut_diff(std::string& diff, std::size_t bytes_max);

}  // namespace lares::tools
