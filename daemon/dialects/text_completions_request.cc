#include "daemon/dialects/text_completions_request.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/dialects/fields.h"

namespace lares::daemon {
namespace {

constexpr std::int64_t kFimTokensMax = 4096;  // the hosted API's

int read_n_logprobs(Fields& fields) {
  return static_cast<int>(fields.whole("logprobs", 0, engine::kLogprobsMax).value_or(-1));
}

Infill read_infill(Fields& fields, const engine::Sampling& defaults) {
  Infill out;
  const auto prompt = fields.text("prompt");
  if (!prompt)
    fields.refuse("prompt", "a string, or an array of token ids");
  else
    out.prefix = *prompt;
  out.suffix = fields.text("suffix");
  out.sampling = defaults;
  read_sampling(fields, /*thinks=*/false, out.sampling);
  out.tokens_max = fields.whole("max_tokens", 1, kFimTokensMax).value_or(kFimTokensMax);
  out.stop = read_stop(fields);
  out.echo = fields.flag("echo", false);
  out.n_logprobs = read_n_logprobs(fields);
  return out;
}

// How many a vocabulary has is known once the model is loaded; that is looked at then.
std::vector<engine::Token> read_ids(Fields& fields, std::string_view name, const WireJson& array) {
  std::vector<engine::Token> out;
  if (array.empty()) fields.refuse(name, "an array of at least one token id");
  out.reserve(array.size());
  for (std::size_t i = 0; i < array.size(); ++i) {
    const WireJson& id = array[i];
    const bool fits = id.is_number_unsigned() && id.get<std::uint64_t>() <= INT32_MAX;
    if (!fits) {
      if (id.is_string() && name == "prompt")
        fields.refuse(name, "a string, or an array of token ids");
      else
        fields.refuse(fmt::format("{}[{}]", name, i), "a token id, a whole number from 0 on");
      break;
    }
    out.push_back(id.get<engine::Token>());
  }
  return out;
}

RawPrompt read_raw(Fields& fields, const WireJson& ids, const engine::Sampling& defaults) {
  constexpr std::string_view kLeftOut = "left out where the prompt is token ids";
  RawPrompt out;
  out.ids = read_ids(fields, "prompt", ids);
  if (const WireJson* const allowed = fields.array("allowed_token_ids"))
    out.allowed = read_ids(fields, "allowed_token_ids", *allowed);
  out.sampling = defaults;
  read_sampling(fields, /*thinks=*/false, out.sampling);
  out.tokens_max = fields.whole("max_tokens", 1, kOutputTokensMax).value_or(out.tokens_max);
  out.n_logprobs = read_n_logprobs(fields);
  out.names_ids = fields.flag("return_tokens_as_token_ids", false);
  if (fields.any("suffix")) fields.refuse("suffix", kLeftOut);
  if (!read_stop(fields).empty()) fields.refuse("stop", kLeftOut);
  if (fields.flag("echo", false)) fields.refuse("echo", kLeftOut);
  // Nothing is added to ids, and their text is all of theirs.
  for (const char* const one : {"add_special_tokens", "skip_special_tokens"})
    fields.flag(one, false);
  return out;
}

}  // namespace

tl::expected<TextCompletionRequest, WireError> read_text_completion(
    const WireJson& body, const engine::Sampling& defaults) {
  Fields fields(body);
  TextCompletionRequest out;
  std::optional<WireError> error;
  out.model = read_model(fields, error);
  if (const WireJson* const prompt = fields.any("prompt"); prompt && prompt->is_array()) {
    out.what = read_raw(fields, *prompt, defaults);
    out.with_ids = fields.flag("return_token_ids", false);
  } else {
    out.what = read_infill(fields, defaults);
  }
  for (const char* const one : {"n", "best_of"}) fields.whole(one, 1, 1);
  if (const WireJson* const bias = fields.object("logit_bias"); bias && !bias->empty())
    fields.refuse("logit_bias", "empty, for tokens are not weighted");
  out.stream = fields.flag("stream", false);
  if (const WireJson* const options = fields.object("stream_options"))
    out.with_usage = field_of(*options, "include_usage") && (*options)["include_usage"] == true;
  if (error) return tl::unexpected(*error);
  if (fields.error()) return tl::unexpected(*fields.error());
  return out;
}

}  // namespace lares::daemon
