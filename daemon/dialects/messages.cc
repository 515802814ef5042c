// Anthropic Messages over HTTP: POST /v1/messages and /v1/messages/count_tokens, both also below
// /anthropic.
#include <utility>

#include "daemon/dialects/beginning.h"
#include "daemon/dialects/dialects.h"
#include "daemon/dialects/messages_answer.h"
#include "daemon/dialects/messages_request.h"
#include "daemon/dialects/read_body.h"
#include "daemon/dialects/reader.h"
#include "daemon/dialects/sse.h"
#include "daemon/http/router.h"

namespace lares::daemon {
namespace {

asio::awaitable<tl::expected<MessagesRequest, WireError>> request_of(Exchange& exchange,
                                                                     Generations& generations,
                                                                     bool to_count) {
  const auto read = [sampling = generations.sampling(), to_count](const WireJson& body) {
    return read_messages_request(body, sampling, to_count);
  };
  return read_body(exchange, generations, read);
}

// Of the betas that a client names: it is told apart whether its limit ended an answer or the
// context's.
constexpr std::string_view kContextBeta = "model-context-window-exceeded-2025-08-26";

HttpReply with_id(HttpReply reply, const std::string& request_id) {
  reply.headers.emplace_back("request-id", request_id);
  return reply;
}

asio::awaitable<void> answer_messages(Generations& generations, Exchange& exchange) {
  const std::string request_id = fresh_id("req_");
  auto reading = request_of(exchange, generations, /*to_count=*/false);
  auto request = co_await std::move(reading);
  if (!request) {
    HttpReply refusal = messages_refusal(request.error(), request_id);
    co_return co_await exchange.reply(std::move(refusal));
  }
  Reader reader(exchange);
  auto head = head_if(request->stream);
  if (head) head = with_id(std::move(*head), request_id);
  auto beginning = begin_generation(exchange, generations, std::move(request->conversation),
                                    reader.stop(), head);
  const auto generation = co_await std::move(beginning);
  if (!generation) {
    HttpReply refusal = messages_refusal(error_of(generation.error()), request_id);
    co_return co_await exchange.reply(std::move(refusal));
  }
  const bool knows_context = exchange.request().header("anthropic-beta").find(kContextBeta) !=
                             std::string_view::npos;
  MessagesAnswer answer(fresh_id("msg_"), request->model, knows_context);
  if (head) co_return co_await stream_answer(exchange, reader, **generation, answer, *head);
  const auto whole = co_await whole_answer(exchange, **generation, answer);
  HttpReply reply = whole ? with_id(json_reply(*whole), request_id)
                          : messages_refusal(whole.error(), request_id);
  co_await exchange.reply(std::move(reply));
}

asio::awaitable<void> count_tokens(Generations& generations, Exchange& exchange) {
  const std::string request_id = fresh_id("req_");
  auto reading = request_of(exchange, generations, /*to_count=*/true);
  auto request = co_await std::move(reading);
  if (!request) {
    HttpReply refusal = messages_refusal(request.error(), request_id);
    co_return co_await exchange.reply(std::move(refusal));
  }
  if (generations.loading()) exchange.takes_long();
  const auto n_tokens = co_await generations.count_tokens(std::move(request->conversation));
  HttpReply reply = n_tokens ? with_id(json_reply({{"input_tokens", *n_tokens}}), request_id)
                             : messages_refusal(error_of(n_tokens.error()), request_id);
  co_await exchange.reply(std::move(reply));
}

// What Claude Code looks at before it speaks.
asio::awaitable<void> hello(Exchange& exchange) {
  HttpReply reply;
  co_await exchange.reply(std::move(reply));
}

}  // namespace

void add_messages(Router& router, Generations& generations) {
  const HttpHandler answers = [&generations](Exchange& exchange) {
    return answer_messages(generations, exchange);
  };
  const HttpHandler counts = [&generations](Exchange& exchange) {
    return count_tokens(generations, exchange);
  };
  const HttpErrorBody refusal = [](unsigned status, std::string_view message) {
    return wire_text(anthropic_body({.status = status, .message = std::string(message)}));
  };
  for (const std::string base : {"", "/anthropic"}) {
    router.add("POST", base + "/v1/messages", answers);
    router.add("POST", base + "/v1/messages/count_tokens", counts);
  }
  for (const char* path : {"/anthropic", "/anthropic/api/hello"}) router.add("HEAD", path, hello);
  for (const char* path : {"/v1/messages", "/anthropic"}) router.shape_errors(path, refusal);
}

}  // namespace lares::daemon
