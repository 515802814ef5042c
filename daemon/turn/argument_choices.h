// What the arguments of a call may be, where its tool knows more than its schema says.
#pragma once

#include <optional>
#include <string>

#include "daemon/turn/toolbox.h"
#include "engine/engine.h"
#include "engine/grammar.h"

namespace lares::daemon {

// A small model spells names badly: it is held to those that there are. A larger one that names
// another means another, and reads what is wrong with it.
// nullopt: anything that the schema allows.
std::optional<engine::ArgumentChoices> argument_choices(const Tools& tools,
                                                        const engine::ModelInfo& model,
                                                        const std::string& tool,
                                                        const std::string& key,
                                                        const engine::Arguments& so_far);

}  // namespace lares::daemon
