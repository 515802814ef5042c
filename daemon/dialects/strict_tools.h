// Tools that a client declares strict: schemas the hosted API would take.
#pragma once

#include <optional>

#include "daemon/dialects/wire.h"

namespace lares::daemon {

// Of Conversation::tools. Nothing: none is strict, or all are, and their schemas are within what strict tools may use.
std::optional<WireError> wrong_strict_tools(const WireJson& tools);

}  // namespace lares::daemon
