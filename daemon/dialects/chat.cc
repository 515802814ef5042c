// OpenAI's Chat Completions as DeepSeek's API speaks it: reasoning_content beside content, cache
// hits in the usage.
#include <memory>
#include <utility>

#include "daemon/dialects/chat_request.h"
#include "daemon/dialects/beginning.h"
#include "daemon/dialects/dialects.h"
#include "daemon/dialects/openai_answer.h"
#include "daemon/dialects/read_body.h"
#include "daemon/dialects/reader.h"
#include "daemon/dialects/sse.h"
#include "daemon/http/router.h"

namespace lares::daemon {
namespace {

// What all chunks of an answer, and the whole one, begin with.
struct ChatHead {
  std::string id, model, fingerprint;
  std::int64_t created = 0;

  WireJson object(std::string_view kind) const {
    return {{"id", id},
            {"object", kind},
            {"created", created},
            {"model", model},
            {"system_fingerprint", fingerprint}};
  }
};

WireJson call_json(int index, const std::string& id, const std::string& name,
                   const std::string& arguments) {
  return {{"index", index},
          {"id", id},
          {"type", "function"},
          {"function", {{"name", name}, {"arguments", arguments}}}};
}

// What of a request its answer is written by: the conversation itself is not kept for it.
struct ChatShape {
  bool thinks = false, with_logprobs = false, with_usage = false;
};

// ---- as a stream

class ChatStream {
 public:
  ChatStream(ChatHead head, ChatShape shape) : head_(std::move(head)), shape_(shape) {}

  std::string begin() const {
    WireJson delta = {{"role", "assistant"}, {"content", ""}};
    if (shape_.thinks) delta["reasoning_content"] = "";
    return chunk(std::move(delta));
  }
  std::string event(const GenerationEvent& event) const {
    if (const auto* const reasoning = std::get_if<ReasoningText>(&event))
      return chunk({{"reasoning_content", reasoning->text}});
    if (const auto* const content = std::get_if<ContentText>(&event)) {
      return chunk({{"content", content->text}},
                   content->logprobs.empty() ? WireJson() : openai_logprobs(content->logprobs));
    }
    if (const auto* const begun = std::get_if<CallBegun>(&event))
      return chunk(
          {{"tool_calls", WireJson::array({call_json(begun->index, begun->id, begun->name, "")})}});
    if (const auto* const more = std::get_if<CallArguments>(&event)) {
      const WireJson call = {{"index", more->index}, {"function", {{"arguments", more->json}}}};
      return chunk({{"tool_calls", WireJson::array({call})}});
    }
    return "";  // a call that is done has been said
  }
  std::string end(const GenerationEnd& end) const {
    // DeepSeek's reason alone says neither why nor that it helps to ask again; clients that know no
    // errors in a stream read on to it.
    std::string out = is_answer(end) ? "" : sse_data(openai_body(error_of(end)));
    out += chunk(WireJson::object(), WireJson(), WireJson(finish_reason(end.reason)));
    if (shape_.with_usage) {
      WireJson last = head_.object("chat.completion.chunk");
      last["choices"] = WireJson::array();
      last["usage"] = openai_usage(end.usage);
      out += sse_data(last);
    }
    out += kSseDone;
    return out;
  }

 private:
  std::string chunk(WireJson delta, WireJson logprobs = WireJson(),
                    WireJson finish = WireJson()) const {
    WireJson json = head_.object("chat.completion.chunk");
    WireJson choice = {{"index", 0},
                       {"delta", std::move(delta)},
                       {"logprobs", std::move(logprobs)},
                       {"finish_reason", std::move(finish)}};
    json["choices"] = WireJson::array();
    json["choices"].push_back(std::move(choice));
    if (shape_.with_usage) json["usage"] = nullptr;
    return sse_data(json);
  }

  const ChatHead head_;
  const ChatShape shape_;
};

asio::awaitable<void> stream(Exchange& exchange, Reader& reader, Generation& generation,
                             ChatStream chat) {
  auto beginning = exchange.begin(sse_head(), std::string(kSseKeepAlive));
  co_await std::move(beginning);
  std::string text = chat.begin();
  for (;;) {
    auto writing = reader.write(std::move(text));
    co_await std::move(writing);
    text.clear();
    const auto events = co_await generation.next();
    if (events.empty()) break;
    for (const GenerationEvent& event : events) text += chat.event(event);
  }
  auto writing = reader.write(chat.end(generation.end()));
  co_await std::move(writing);
  co_await exchange.end();
}

// ---- whole

struct ChatWhole {
  std::string reasoning, content;
  WireJson calls = WireJson::array();
  std::vector<TokenLogprob> logprobs;

  void hear(const GenerationEvent& event) {
    if (const auto* const text = std::get_if<ReasoningText>(&event)) reasoning += text->text;
    if (const auto* const text = std::get_if<ContentText>(&event)) {
      content += text->text;
      logprobs.insert(logprobs.end(), text->logprobs.begin(), text->logprobs.end());
    }
    if (const auto* const call = std::get_if<CallDone>(&event))
      calls.push_back(call_json(call->index, call->id, call->name, call->arguments));
  }
  WireJson json(const ChatHead& head, const ChatShape& shape, const GenerationEnd& end) && {
    WireJson message = {{"role", "assistant"}, {"content", std::move(content)}};
    if (shape.thinks) message["reasoning_content"] = std::move(reasoning);
    if (!calls.empty()) message["tool_calls"] = std::move(calls);
    WireJson choice = {{"index", 0},
                       {"message", std::move(message)},
                       {"logprobs", shape.with_logprobs ? openai_logprobs(logprobs) : WireJson()},
                       {"finish_reason", finish_reason(end.reason)}};
    WireJson out = head.object("chat.completion");
    out["choices"] = WireJson::array();
    out["choices"].push_back(std::move(choice));
    out["usage"] = openai_usage(end.usage);
    return out;
  }
};

asio::awaitable<HttpReply> whole(Generation& generation, const ChatHead& head,
                                 const ChatShape& shape) {
  ChatWhole answer;
  for (;;) {
    const auto events = co_await generation.next();
    if (events.empty()) break;
    for (const GenerationEvent& event : events) answer.hear(event);
  }
  const GenerationEnd& end = generation.end();
  if (!is_answer(end)) co_return openai_reply(error_of(end));
  co_return json_reply(std::move(answer).json(head, shape, end));
}

asio::awaitable<void> answer_chat(Exchange& exchange, Generations& generations, bool beta) {
  const auto refuse = [&](const WireError& error) { return exchange.reply(openai_reply(error)); };
  const auto read = [sampling = generations.sampling(), beta](const WireJson& body) {
    return read_chat(body, sampling, beta);
  };
  auto reading = read_body(exchange, generations, read);
  auto asked = co_await std::move(reading);
  if (!asked) co_return co_await refuse(asked.error());
  const ChatShape shape{asked->conversation.thinking, asked->conversation.n_logprobs >= 0,
                        asked->with_usage};
  Reader reader(exchange);
  auto beginning = begin_generation(exchange, generations, std::move(asked->conversation),
                                    reader.stop(), head_if(asked->stream));
  const auto generation = co_await std::move(beginning);
  if (!generation) {
    const WireError error = error_of(generation.error());
    co_return co_await refuse(error);
  }
  ChatHead head{fresh_id("chatcmpl-"), asked->model, system_fingerprint(generations),
                seconds_since_1970()};
  if (asked->stream) {
    auto streaming = stream(exchange, reader, **generation, ChatStream(std::move(head), shape));
    co_return co_await std::move(streaming);
  }
  exchange.takes_long();
  auto answering = whole(**generation, head, shape);
  HttpReply reply = co_await std::move(answering);
  co_await exchange.reply(std::move(reply));
}

}  // namespace

void add_chat(Router& router, Generations& generations) {
  for (const char* const path : {"/v1/chat/completions", "/chat/completions",
                                 "/beta/chat/completions", "/beta/v1/chat/completions"}) {
    const bool beta = std::string_view(path).starts_with("/beta");
    router.add("POST", path, [&generations, beta](Exchange& exchange) {
      return answer_chat(exchange, generations, beta);
    });
  }
}

}  // namespace lares::daemon
