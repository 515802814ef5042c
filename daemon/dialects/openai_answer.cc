#include "daemon/dialects/openai_answer.h"

#include <utility>

#include "daemon/utf8.h"

namespace lares::daemon {
namespace {

// The text of a token that is half a code point is no text; its bytes are.
WireJson one_logprob(const std::string& token, float logprob) {
  WireJson bytes = WireJson::array();
  for (const char c : token) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", valid_utf8(token)}, {"logprob", logprob}, {"bytes", std::move(bytes)}};
}

}  // namespace

std::string_view finish_reason(GenerationEnd::Reason reason) {
  switch (reason) {
    case GenerationEnd::Reason::stop:
    case GenerationEnd::Reason::sequence:
      return "stop";
    case GenerationEnd::Reason::calls:
      return "tool_calls";
    case GenerationEnd::Reason::length:
    case GenerationEnd::Reason::context:  // the dialect has one word for both
      return "length";
    case GenerationEnd::Reason::cancelled:
    case GenerationEnd::Reason::ending:
    case GenerationEnd::Reason::failed:
      break;
  }
  return "insufficient_system_resource";
}

WireJson openai_usage(const GenerationUsage& u) {
  return {{"prompt_tokens", u.prompt},
          {"completion_tokens", u.completion},
          {"total_tokens", u.prompt + u.completion},
          {"prompt_tokens_details", {{"cached_tokens", u.cached}}},
          {"completion_tokens_details", {{"reasoning_tokens", u.reasoning}}},
          {"prompt_cache_hit_tokens", u.cached},
          {"prompt_cache_miss_tokens", u.prompt - u.cached}};
}

WireJson openai_logprobs(const std::vector<TokenLogprob>& logprobs) {
  WireJson content = WireJson::array();
  for (const TokenLogprob& one : logprobs) {
    WireJson top = WireJson::array();
    for (const auto& [token, logprob] : one.top) top.push_back(one_logprob(token, logprob));
    WireJson entry = one_logprob(one.token, one.logprob);
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}};
}

std::string system_fingerprint(const Generations& generations) {
  return "lares_" + generations.model();
}

}  // namespace lares::daemon
