// What an editor may choose of a session: its mode, which is the daemon's policy. Neither the model
// nor how much it thinks is a choice within a session, so neither is offered as one.
#pragma once

#include <string>

#include "daemon/bridges/acp/message.h"

namespace lares::cli::acp {

bool is_mode(const std::string& mode);
std::string modes_known();
Json modes_json(const std::string& mode);    // session/new's modes, `mode` the present one
Json options_json(const std::string& mode);  // configOptions, always all of them

}  // namespace lares::cli::acp
