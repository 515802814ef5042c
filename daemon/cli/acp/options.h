// What an editor may choose of a session: its mode, which is the daemon's policy, and what its selectors show beside it.
#pragma once

#include <string>

#include "daemon/cli/acp/message.h"

namespace lares::cli::acp {

struct Choices {
  std::string mode = "auto", thinking = "max", model;
};
bool is_mode(const std::string& mode);
std::string modes_known();
Json modes_json(const Choices& choices);    // session/new's modes
Json options_json(const Choices& choices);  // configOptions, always all of them

}  // namespace lares::cli::acp
