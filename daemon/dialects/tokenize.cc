// vLLM's tokenize: the ids of a text, for programs that speak in ids.
#include <utility>

#include "daemon/dialects/dialects.h"
#include "daemon/dialects/fields.h"
#include "daemon/dialects/model_size.h"
#include "daemon/dialects/read_body.h"
#include "daemon/http/router.h"

namespace lares::daemon {
namespace {

tl::expected<std::string, WireError> read_text(const WireJson& body) {
  Fields fields(body);
  std::optional<WireError> error;
  read_model(fields, error);
  if (fields.any("messages"))
    fields.refuse("messages", "left out, for only a prompt can be tokenised");
  const auto prompt = fields.text("prompt");
  if (!prompt) fields.refuse("prompt", "a string");
  // Says nothing here: tokenizers of this family put nothing before a text. What begins a sentence
  // is written by who encodes a chat (completions/render.cc), and by whoever sends the text here.
  fields.flag("add_special_tokens", true);
  if (error) return tl::unexpected(*error);
  if (fields.error()) return tl::unexpected(*fields.error());
  return *prompt;
}

asio::awaitable<void> tokenize(Exchange& exchange, Generations& generations) {
  auto reading = read_body(exchange, generations, read_text);
  auto text = co_await std::move(reading);
  if (!text) {
    HttpReply refusal = openai_reply(text.error());
    co_return co_await exchange.reply(std::move(refusal));
  }
  if (generations.loading()) exchange.takes_long();
  auto encoding = generations.tokenize(std::move(*text));
  const auto ids = co_await std::move(encoding);
  HttpReply reply;
  if (!ids) {
    reply = openai_reply(error_of(ids.error()));
  } else {
    WireJson json = {{"count", ids->size()}};
    add_size(json, generations);
    json["tokens"] = *ids;
    reply = json_reply(json);
  }
  co_await exchange.reply(std::move(reply));
}

}  // namespace

void add_tokenize(Router& router, Generations& generations) {
  router.add("POST", "/tokenize",
             [&generations](Exchange& exchange) { return tokenize(exchange, generations); });
}

}  // namespace lares::daemon
