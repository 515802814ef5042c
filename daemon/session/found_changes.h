// What lies between two snapshots of a worktree, as clients are shown it, within bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/protocol/protocol.h"
#include "tools/snapshots/snapshots.h"

namespace lares::daemon {

inline constexpr std::size_t kFoundFilesMax = 500;           // of more, none is named
inline constexpr std::size_t kFoundDiffBytesMax = 32 << 10;  // of one file, as an edit's
// Of all: a file whose diff does not fit any more is named without one.
inline constexpr std::size_t kFoundDiffsBytesMax = 128 << 10;
// Of contents, before and after, that are read for the diffs of all: the same.
inline constexpr std::uint64_t kFoundBytesReadMax = 8 << 20;

// In path order. A diff is behind git's head where there was or is no file, or its mode is another.
// Reads the disk.
tl::expected<std::vector<protocol::FileChange>, std::string> find_changes(
    tools::Snapshots& snapshots, const std::string& from, const std::string& to);

}  // namespace lares::daemon
