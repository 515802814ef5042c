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
  std::int64_t turn_id = 0;
  bool begins_turn = false;  // else it steered one
  std::string ended;         // how_it_ended() of its turn, where this is the last of it
};

// What stands behind the prompt that began a turn: rewind and fork take the number.
std::string turn_number(std::int64_t turn_id);

// Of a turn that did not come to its end: "interrupted", "failed: ..."; else nothing.
std::string how_it_ended(const protocol::TurnEnded& ended);

// Hands out every durable fact with seq > after, in order.
Result<> read_history(
    Link& link, const std::string& session_id, std::int64_t after,
    const std::function<void(const protocol::SessionHistoryResult::Event&)>& each);

// The seq before that of a turn's beginning; 0 where the history does not have it. It is looked for
// from the end on, since a session may be months long.
Result<std::int64_t> before_turn(Link& link, const protocol::SessionInfo& session,
                                 std::int64_t turn_id);

// The last `n_max`, oldest first.
Result<std::vector<Exchange>> last_exchanges(Link& link, const protocol::SessionInfo& session,
                                             std::size_t n_max);

Result<shown::Changes> session_changes(Link& link, const std::string& session_id);

}  // namespace lares::cli
