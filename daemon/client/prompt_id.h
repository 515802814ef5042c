// The name a client gives a prompt: the same one twice is the same prompt, so sending it again is
// safe.
#pragma once

#include <string>

namespace lares::cli {

std::string fresh_prompt_id();

}  // namespace lares::cli
