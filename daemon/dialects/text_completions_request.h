// A request of OpenAI's old Completions: what stands between a prompt and a suffix, as DeepSeek's
// FIM completion has it, or token ids to go on with, as vLLM has them.
#pragma once

#include <string>
#include <variant>

#include <tl/expected.hpp>

#include "daemon/completions/conversation.h"
#include "daemon/dialects/wire.h"

namespace lares::daemon {

struct TextCompletionRequest {
  std::variant<Infill, RawPrompt> what;
  std::string model;  // as it is called there
  bool stream = false, with_usage = false;
  bool with_ids = false;  // the answer's; of a RawPrompt
};

// `defaults`: how is sampled where it says nothing.
tl::expected<TextCompletionRequest, WireError> read_text_completion(
    const WireJson& body, const engine::Sampling& defaults);

}  // namespace lares::daemon
