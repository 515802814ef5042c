// What a session's history holds for a person: its last exchanges, its changes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/client/error.h"
#include "daemon/client/link.h"
#include "daemon/shown/changes.h"

namespace lares::cli {

struct Exchange {
  std::string prompt, answer;  // answer: the last text of the turn; empty while there is none
};

// Hands out every durable fact with seq > after, in order.
Result<> read_history(
    Link& link, const std::string& session_id, std::int64_t after,
    const std::function<void(const protocol::SessionHistoryResult::Event&)>& each);

// The last `n_max`, oldest first.
Result<std::vector<Exchange>> last_exchanges(Link& link, const protocol::SessionInfo& session,
                                             std::size_t n_max);

Result<shown::Changes> session_changes(Link& link, const std::string& session_id);

}  // namespace lares::cli
