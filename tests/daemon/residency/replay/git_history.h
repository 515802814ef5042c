// The first-parent history of a git repository as a workspace that changes, straight from its
// objects: no checkout.
#pragma once

#include <memory>
#include <string>

#include <tl/expected.hpp>

#include "tests/daemon/residency/replay/replay.h"

namespace lares::daemon {

// 64k tokens: larger files are only listed
inline constexpr std::uint64_t kHistoryFileBytesMax = 224'000;
inline constexpr std::size_t kVolatilityCommitsMax = 3'000;  // looked at before the first

// Begins `n_commits` before HEAD, later if the history is shorter. What no scanner would show
// (binary, data, vendored) is left out or only listed by rules of its own: figures of a replay are
// as good as these. The error says what git could not do.
tl::expected<std::unique_ptr<History>, std::string> open_git_history(const std::string& repository,
                                                                     std::size_t n_commits);

}  // namespace lares::daemon
