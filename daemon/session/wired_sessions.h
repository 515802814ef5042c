// Sessions with all that they share: the repositories that are resident, the checkpoints of files,
// the worktrees. As a daemon has them, and a test of sessions.
#pragma once

#include <cstdint>
#include <string>

#include <boost/asio/thread_pool.hpp>

#include "daemon/resident/residents.h"
#include "daemon/session/checkpoints.h"
#include "daemon/session/sessions.h"
#include "daemon/session/worktree_records.h"
#include "daemon/session/worktrees.h"

namespace lares::daemon {

struct WiredSessions {
  // `world` lacks what is made here. `trees`: where repositories are read, rendered and kept.
  WiredSessions(SessionWorld world, asio::thread_pool& trees, std::int64_t resident_tokens,
                KeptLimits limits = {});
  WiredSessions(const WiredSessions&) = delete;
  WiredSessions& operator=(const WiredSessions&) = delete;

  const std::string stores;  // a directory: what was evaluated of repositories
  const WorktreeRecords records;
  Residents residents;
  Checkpoints checkpoints;
  Worktrees worktrees;
  Sessions sessions;
};

}  // namespace lares::daemon
