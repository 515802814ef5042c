// Which models there are: one loaded checkpoint, by the names that clients of DeepSeek's API know.
// One body is right for OpenAI's and for Anthropic's clients.
#include "daemon/dialects/dialects.h"
#include "daemon/dialects/fields.h"
#include "daemon/dialects/model_size.h"
#include "daemon/http/router.h"

namespace lares::daemon {
namespace {

constexpr std::int64_t kCreated = 1'777'000'000;  // the family's first release: a day in April 2026
constexpr std::string_view kCreatedAt = "2026-04-24T03:06:40Z";

// `display_name` says which checkpoint answers, `max_model_len`, vLLM's, how many tokens it holds,
// and `meta`, llama.cpp's, how many parameters it has; that is known once it is loaded.
WireJson model_json(std::string_view id, const Generations& generations) {
  WireJson json = {{"id", id},
                   {"object", "model"},
                   {"created", kCreated},
                   {"owned_by", "deepseek"},
                   {"type", "model"},
                   {"display_name", generations.model()},
                   {"created_at", kCreatedAt}};
  add_size(json, generations);
  return json;
}

asio::awaitable<void> list(Exchange& exchange, Generations& generations) {
  const WireJson json = {
      {"object", "list"},
      {"data", {model_json(kModelFlash, generations), model_json(kModelPro, generations)}},
      {"has_more", false},
      {"first_id", kModelFlash},
      {"last_id", kModelPro}};
  HttpReply reply = json_reply(json);
  co_await exchange.reply(std::move(reply));
}

asio::awaitable<void> one(Exchange& exchange, Generations& generations) {
  const std::string id = last_segment(exchange.request().path);
  const auto gone = retired(id);
  const bool anthropic = exchange.request().path.starts_with("/anthropic") ||
                         !exchange.request().header("anthropic-version").empty();
  HttpReply reply = !gone       ? json_reply(model_json(id, generations))
                    : anthropic ? anthropic_reply(*gone)
                                : openai_reply(*gone);
  co_await exchange.reply(std::move(reply));
}

}  // namespace

void add_models(Router& router, Generations& generations) {
  for (const std::string path : {"/v1/models", "/models", "/anthropic/v1/models"}) {
    router.add("GET", path,
               [&generations](Exchange& exchange) { return list(exchange, generations); });
    router.add("GET", path + "/{id}",
               [&generations](Exchange& exchange) { return one(exchange, generations); });
  }
}

}  // namespace lares::daemon
