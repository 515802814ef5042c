// What a session is sampled with: given at its creation, else the daemon's; and its own from then
// on.
#pragma once

#include <string_view>

#include "daemon/protocol/protocol.h"
#include "daemon/turn/turn.h"

namespace lares::daemon {

// A fact of the daemon's own: they are these from now on.
inline constexpr std::string_view kSettings = "lares/settings";

// What is not given is the daemon's, and the seed random.
protocol::SessionSettings filled(protocol::SessionSettings given, const TurnSettings& defaults);
// For another model than the one that they were filled for: which of them somebody gave is not
// known.
protocol::SessionSettings for_another_model(protocol::SessionSettings settings,
                                            const TurnSettings& defaults);

}  // namespace lares::daemon
