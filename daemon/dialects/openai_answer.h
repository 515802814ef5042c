// What Chat Completions and Completions say of an answer in the same words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/completions/generation.h"
#include "daemon/dialects/wire.h"

namespace lares::daemon {

// stop, length, tool_calls, insufficient_system_resource (the daemon ends, or the engine failed).
std::string_view finish_reason(GenerationEnd::Reason reason);
WireJson openai_usage(const GenerationUsage& usage);
// {"content": [{token, logprob, bytes, top_logprobs}]}
WireJson openai_logprobs(const std::vector<TokenLogprob>& logprobs);
std::string system_fingerprint(const Generations& generations);

}  // namespace lares::daemon
