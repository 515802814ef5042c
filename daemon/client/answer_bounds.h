// How long the daemon's answer to a request may take. Beyond it whoever asked is told, while what
// was asked for goes on.
#pragma once

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string_view>

#include "daemon/protocol/protocol.h"
#include "daemon/protocol/worktree_wire.h"

namespace lares::cli {

inline constexpr std::chrono::milliseconds kAnswerTimeout{30'000};
// What takes snapshots of a worktree, compares them or writes files back takes as long as the
// repository is large, and until it is over nobody can know what to do next.
inline constexpr std::chrono::minutes kFilesTimeout{10};

constexpr bool works_on_files(std::string_view method) {
  namespace protocol = daemon::protocol;
  constexpr std::string_view kMethods[] = {
      protocol::SessionRewind::kMethod, protocol::SessionUnrewind::kMethod,
      protocol::WorktreeList::kMethod,  protocol::WorktreeRemove::kMethod,
      protocol::WorktreeDiff::kMethod,  protocol::WorktreeApply::kMethod};
  return std::ranges::find(kMethods, method) != std::end(kMethods);
}

constexpr std::chrono::milliseconds answer_timeout(std::string_view method) {
  return works_on_files(method) ? kFilesTimeout : kAnswerTimeout;
}

}  // namespace lares::cli
