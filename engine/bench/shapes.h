// The family's shapes, for weights that are generated.
#pragma once

#include <optional>
#include <string_view>

#include "engine/model/checkpoint/config.h"

namespace lares::engine::bench {

std::optional<Config> shape_named(std::string_view name);  // flash, pro, nano

}  // namespace lares::engine::bench
