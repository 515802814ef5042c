// The part of the protocol that is about snapshots which take long, and its JSON; see protocol.h
// and wire.h.
#pragma once

#include <cstdint>
#include <string_view>

#include "daemon/protocol/protocol.h"
#include "daemon/protocol/wire.h"

namespace lares::daemon::protocol {

// Ephemeral, a few a second, once a call waits a second for the snapshot before it: the first of a
// repository keeps every file.
struct TurnSnapshot {
  static constexpr std::string_view kNotification = "turn/snapshot";
  Stamp at{};
  std::int64_t turn_id = 0;
  std::int64_t done = 0, total = 0;  // files; total 0: they are not counted yet
};

template <class V>
void fields(V& v, TurnSnapshot& x) {
  fields(v, x.at);
  v.r("turnId", x.turn_id);
  v.r("done", x.done);
  v.r("total", x.total);
}

}  // namespace lares::daemon::protocol
