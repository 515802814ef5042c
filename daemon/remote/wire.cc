#include "daemon/remote/wire.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/remote/foreign.h"

namespace lares::daemon {
namespace {

using engine::Errc;
using engine::Error;
using engine::Token;
using Json = nlohmann::json;

constexpr std::string_view kWhat = "draw a token";
constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;  // odd, near 2^64 / phi: neighbours scatter

std::string ids_text(std::span<const Token> ids) {
  std::string out = "[";
  for (const Token id : ids) fmt::format_to(std::back_inserter(out), "{},", id);
  if (out.size() > 1) out.pop_back();
  return out + "]";
}

// A server counts its draws from the beginning of each request; ours are of (seed, position).
std::uint32_t seed_at(std::uint64_t seed, std::size_t position) {
  const std::uint64_t mixed = (seed + position * kGolden) * kGolden;
  return static_cast<std::uint32_t>(mixed >> 33);
}

// "token_id:5", as return_tokens_as_token_ids writes it.
std::optional<Token> id_in(std::string_view text, int vocab_size) {
  constexpr std::string_view kBefore = "token_id:";
  if (!text.starts_with(kBefore)) return std::nullopt;
  text.remove_prefix(kBefore.size());
  Token id = -1;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), id);
  const bool whole = ec == std::errc() && end == text.data() + text.size();
  return whole && id >= 0 && id < vocab_size ? std::optional(id) : std::nullopt;
}

// Into `tokens`, as far as they are told: columns, a row to a token.
void read_logprobs(const Json& columns, int vocab_size, std::vector<DrawnToken>& tokens) {
  if (!columns.is_object()) return;
  const auto values = columns.find("token_logprobs"), tops = columns.find("top_logprobs");
  for (const auto& column : {values, tops})
    if (column == columns.end() || !column->is_array() || column->size() != tokens.size()) return;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Json &value = (*values)[i], &top = (*tops)[i];
    if (!value.is_number() || !top.is_object()) continue;
    engine::Logprobs& out = tokens[i].logprobs;
    out.drawn = value.get<float>();
    for (const auto& [text, logprob] : top.items())
      if (const auto id = id_in(text, vocab_size); id && logprob.is_number())
        out.top.emplace_back(*id, logprob.get<float>());
    std::ranges::sort(out.top, [](const auto& a, const auto& b) {
      return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
  }
}

// What it sent is not shown: it may be what the model said.
tl::unexpected<Error> malformed(std::string_view what) {
  return tl::unexpected(Error{Errc::malformed, fmt::format("{}: the server sent {}", kWhat, what)});
}

}  // namespace

std::vector<Token> allowed_ids(const engine::TokenMask& mask) {
  std::vector<Token> out;
  for (std::size_t w = 0; w < mask.size(); ++w)
    for (std::uint64_t word = mask[w]; word != 0; word &= word - 1)
      out.push_back(static_cast<Token>(w * 64 + static_cast<std::size_t>(std::countr_zero(word))));
  return out;
}

std::string completion_body(const std::string& model, const CompletionAsked& asked) {
  const engine::Sampling& s = asked.sampling;
  const Json options = {{"model", model},
                        {"max_tokens", asked.tokens_max},
                        {"temperature", s.temperature},
                        {"top_k", s.top_p <= 0  ? 1
                                  : s.top_k > 0 ? s.top_k
                                                : -1},
                        {"top_p", s.top_p <= 0 ? 1.0f : s.top_p},  // vLLM takes no 0
                        {"min_p", s.min_p},
                        {"repetition_penalty", s.repetition_penalty},
                        {"presence_penalty", s.presence_penalty},
                        {"frequency_penalty", s.frequency_penalty},
                        {"seed", seed_at(s.seed, asked.prompt.size())},
                        {"stream", true},
                        {"stream_options", {{"include_usage", true}}},
                        {"return_token_ids", true},
                        {"add_special_tokens", false},
                        {"skip_special_tokens", false}};
  std::string body = options.dump();
  body.back() = ',';
  if (asked.n_logprobs > 0)
    body += fmt::format("\"logprobs\":{},\"return_tokens_as_token_ids\":true,", asked.n_logprobs);
  if (!asked.allowed.empty()) body += "\"allowed_token_ids\":" + ids_text(asked.allowed) + ",";
  return body + "\"prompt\":" + ids_text(asked.prompt) + "}";
}

engine::Result<CompletionPiece> completion_piece(const std::string& event, int vocab_size) {
  const Json json = foreign_json(event);
  if (!json.is_object()) return malformed("what is no JSON object");
  if (const auto error = json.find("error"); error != json.end() && !error->is_null()) {
    const auto message = error->is_object() ? error->find("message") : error->end();
    const Json& why = error->is_object() && message != error->end() ? *message : *error;
    return tl::unexpected(
        Error{Errc::malformed,
              fmt::format("{}: the server broke off: {}", kWhat,
                          why.is_string() ? words_of_server(why.get_ref<const std::string&>())
                                          : "it does not say why")});
  }
  CompletionPiece out;
  if (const auto usage = json.find("usage"); usage != json.end() && usage->is_object())
    if (const auto details = usage->find("prompt_tokens_details");
        details != usage->end() && details->is_object())
      if (const auto cached = details->find("cached_tokens");
          cached != details->end() && cached->is_number_unsigned())
        out.n_cached = cached->get<std::int64_t>();
  const auto choices = json.find("choices");
  if (choices == json.end() || !choices->is_array()) return malformed("no choices");
  if (choices->empty()) return out;
  const Json& choice = choices->front();
  if (!choice.is_object()) return malformed("a choice that is no object");
  const auto ids = choice.find("token_ids");
  if (ids != choice.end() && ids->is_array()) {
    for (const Json& id : *ids) {
      if (!id.is_number_integer() || id < 0 || id >= vocab_size)
        return malformed("what is no token's id");
      out.tokens.push_back({id.get<Token>()});
    }
    if (const auto logprobs = choice.find("logprobs"); logprobs != choice.end())
      read_logprobs(*logprobs, vocab_size, out.tokens);
  } else if (const auto text = choice.find("text");
             text != choice.end() && text->is_string() && !text->get<std::string>().empty()) {
    return tl::unexpected(Error{
        Errc::unsupported,
        fmt::format("{}: the server gives text without token ids (return_token_ids); it must be "
                    "vLLM 0.10.2 or newer, or Lares",
                    kWhat)});
  }
  if (const auto finish = choice.find("finish_reason");
      finish != choice.end() && finish->is_string()) {
    const auto word = finish->get<std::string>();
    if (word == "stop")
      out.finish = CompletionPiece::Finish::stop;
    else if (word == "length")
      out.finish = CompletionPiece::Finish::length;
    else
      return malformed(fmt::format("\"{}\" as the end of its answer", words_of_server(word)));
  }
  return out;
}

}  // namespace lares::daemon
