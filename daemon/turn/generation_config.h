// How a checkpoint wants to be sampled: its generation_config.json, in Hugging Face's terms.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "daemon/turn/turn.h"

namespace lares::daemon {

// temperature, top_k, top_p, min_p, do_sample (false: greedy) and max_new_tokens of `directory`'s
// file, into the defaults of a turn. Without the file: temperature 1 and no filter. The error is
// one line.
tl::expected<TurnSettings, std::string> generation_defaults(const std::string& directory);

}  // namespace lares::daemon
