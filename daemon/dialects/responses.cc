// OpenAI Responses over HTTP: POST /v1/responses and /responses. Nothing is stored: what would read
// a response later is told so.
#include <utility>

#include "daemon/dialects/beginning.h"
#include "daemon/dialects/dialects.h"
#include "daemon/dialects/read_body.h"
#include "daemon/dialects/reader.h"
#include "daemon/dialects/responses_answer.h"
#include "daemon/dialects/responses_request.h"
#include "daemon/dialects/sse.h"
#include "daemon/http/router.h"

namespace lares::daemon {
namespace {

asio::awaitable<void> answer_responses(Generations& generations, Exchange& exchange) {
  const auto read = [sampling = generations.sampling()](const WireJson& body) {
    return read_responses_request(body, sampling);
  };
  auto reading = read_body(exchange, generations, read);
  auto request = co_await std::move(reading);
  if (!request) {
    HttpReply refusal = openai_reply(request.error());
    co_return co_await exchange.reply(std::move(refusal));
  }
  Reader reader(exchange);
  ResponsesAnswer answer(fresh_id("resp_"), request->model, seconds_since_1970(),
                         std::move(request->tools), std::move(request->echo));
  Exchange::KeepAlive keep_alive = answer.keep_alive();
  auto beginning = begin_generation(exchange, generations, std::move(request->conversation),
                                    reader.stop(), head_if(request->stream), std::move(keep_alive));
  const auto generation = co_await std::move(beginning);
  if (!generation) {
    HttpReply refusal = openai_reply(error_of(generation.error()));
    co_return co_await exchange.reply(std::move(refusal));
  }
  if (request->stream) {
    HttpReply head = sse_head();
    co_return co_await stream_answer(exchange, reader, **generation, answer, std::move(head));
  }
  const auto whole = co_await whole_answer(exchange, **generation, answer);
  HttpReply reply = whole ? json_reply(*whole) : openai_reply(whole.error());
  co_await exchange.reply(std::move(reply));
}

// Codex asks with GET whether there is a WebSocket, and goes on with POST.
asio::awaitable<void> nothing_stored(Exchange& exchange) {
  const WireError error{.status = 404,
                        .message =
                            "read a response: none is stored here; send POST /v1/responses with "
                            "the whole conversation as input",
                        .code = "not_found"};
  HttpReply refusal = openai_reply(error);
  co_await exchange.reply(std::move(refusal));
}

}  // namespace

void add_responses(Router& router, Generations& generations) {
  const HttpHandler answers = [&generations](Exchange& exchange) {
    return answer_responses(generations, exchange);
  };
  for (const std::string path : {"/v1/responses", "/responses"}) {
    router.add("POST", path, answers);
    router.add("GET", path, nothing_stored);
    for (const char* method : {"GET", "DELETE"}) router.add(method, path + "/{id}", nothing_stored);
  }
}

}  // namespace lares::daemon
