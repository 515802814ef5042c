// OpenAI's old Completions: DeepSeek's FIM completion, and vLLM's of token ids.
#include <utility>

#include "daemon/dialects/beginning.h"
#include "daemon/dialects/dialects.h"
#include "daemon/dialects/text_completions_request.h"
#include "daemon/dialects/openai_answer.h"
#include "daemon/dialects/read_body.h"
#include "daemon/dialects/reader.h"
#include "daemon/dialects/sse.h"
#include "daemon/http/router.h"
#include "daemon/utf8.h"
#include "tools/characters.h"

namespace lares::daemon {
namespace {

// What has been said, as the old format has it: logprobs in columns, each token with its place in
// the text.
class TextCompletionAnswer {
 public:
  TextCompletionAnswer(const TextCompletionRequest& asked, std::string fingerprint)
      : head_({{"id", fresh_id("cmpl-")},
               {"object", "text_completion"},
               {"created", seconds_since_1970()},
               {"model", asked.model},
               {"system_fingerprint", std::move(fingerprint)}}),
        with_usage_(asked.with_usage),
        with_ids_(asked.with_ids) {
    if (const auto* const raw = std::get_if<RawPrompt>(&asked.what)) {
      with_logprobs_ = raw->n_logprobs >= 0, names_ids_ = raw->names_ids;
      return;
    }
    const auto* const infill = std::get_if<Infill>(&asked.what);
    with_logprobs_ = infill->n_logprobs >= 0;
    if (infill->echo) echoed_ = infill->prefix;
    offset_ = tools::n_characters(echoed_);
  }

  const std::string& echoed() const { return echoed_; }  // what its text begins with
  bool with_usage() const { return with_usage_; }        // of a stream, in the end

  WireJson piece(const ContentText& said, WireJson finish = WireJson()) {
    WireJson choice = {{"text", said.text},
                       {"index", 0},
                       {"logprobs", with_logprobs_ ? columns(said.logprobs) : WireJson()},
                       {"finish_reason", std::move(finish)}};
    if (with_ids_) choice["token_ids"] = said.ids;
    WireJson out = head_;
    out["choices"] = WireJson::array();
    out["choices"].push_back(std::move(choice));
    return out;
  }
  WireJson usage(const GenerationUsage& usage) const {
    WireJson out = head_;
    out["choices"] = WireJson::array();
    out["usage"] = openai_usage(usage);
    return out;
  }

 private:
  WireJson columns(const std::vector<TokenLogprob>& logprobs) {
    WireJson tokens = WireJson::array(), values = WireJson::array(), tops = WireJson::array(),
             offsets = WireJson::array();
    for (const TokenLogprob& one : logprobs) {
      WireJson top = WireJson::object();
      for (const auto& [token, logprob] : one.top) top[valid_utf8(token)] = logprob;
      tokens.push_back(valid_utf8(one.token)), values.push_back(one.logprob),
          tops.push_back(std::move(top));
      if (names_ids_) continue;  // which have no place in the text
      offsets.push_back(offset_);
      offset_ += tools::n_characters(one.token);
    }
    return {{"tokens", std::move(tokens)},
            {"token_logprobs", std::move(values)},
            {"top_logprobs", std::move(tops)},
            {"text_offset", std::move(offsets)}};
  }

  const WireJson head_;
  const bool with_usage_, with_ids_;
  bool with_logprobs_ = false, names_ids_ = false;
  std::string echoed_;
  std::size_t offset_ = 0;  // characters
};

asio::awaitable<void> stream(Exchange& exchange, Reader& reader, Generation& generation,
                             TextCompletionAnswer answer) {
  auto beginning = exchange.begin(sse_head(), std::string(kSseKeepAlive));
  co_await std::move(beginning);
  std::string text;
  if (!answer.echoed().empty()) text = sse_data(answer.piece({.text = answer.echoed()}));
  for (;;) {
    const auto events = co_await generation.next();
    if (events.empty()) break;
    for (const GenerationEvent& event : events) {
      if (const auto* const said = std::get_if<ContentText>(&event))
        text += sse_data(answer.piece(*said));
    }
    auto writing = reader.write(std::exchange(text, ""));
    co_await std::move(writing);
  }
  if (!is_answer(generation.end()))
    text += sse_data(openai_body(error_of(generation.end())));  // as in chat.cc
  text += sse_data(answer.piece({}, finish_reason(generation.end().reason)));
  if (answer.with_usage()) text += sse_data(answer.usage(generation.end().usage));
  auto writing = reader.write(text + std::string(kSseDone));
  co_await std::move(writing);
  co_await exchange.end();
}

asio::awaitable<HttpReply> whole(Generation& generation, TextCompletionAnswer answer) {
  ContentText all{.text = answer.echoed()};
  for (;;) {
    const auto events = co_await generation.next();
    if (events.empty()) break;
    for (const GenerationEvent& event : events) {
      const auto* const said = std::get_if<ContentText>(&event);
      if (!said) continue;
      all.text += said->text;
      all.logprobs.insert(all.logprobs.end(), said->logprobs.begin(), said->logprobs.end());
      all.ids.insert(all.ids.end(), said->ids.begin(), said->ids.end());
    }
  }
  const GenerationEnd& end = generation.end();
  if (!is_answer(end)) co_return openai_reply(error_of(end));
  WireJson out = answer.piece(all, finish_reason(end.reason));
  out["usage"] = openai_usage(end.usage);
  co_return json_reply(out);
}

asio::awaitable<void> answer_fim(Exchange& exchange, Generations& generations) {
  const auto refuse = [&](const WireError& error) { return exchange.reply(openai_reply(error)); };
  const auto read = [sampling = generations.sampling()](const WireJson& body) {
    return read_text_completion(body, sampling);
  };
  auto reading = read_body(exchange, generations, read);
  auto asked = co_await std::move(reading);
  if (!asked) co_return co_await refuse(asked.error());
  TextCompletionAnswer answer(*asked, system_fingerprint(generations));
  Reader reader(exchange);
  auto beginning = std::visit(
      [&](auto& what) {
        return begin_generation(exchange, generations, std::move(what), reader.stop(),
                                head_if(asked->stream));
      },
      asked->what);
  const auto generation = co_await std::move(beginning);
  if (!generation) {
    const WireError error = error_of(generation.error());
    co_return co_await refuse(error);
  }
  if (asked->stream) {
    auto streaming = stream(exchange, reader, **generation, std::move(answer));
    co_return co_await std::move(streaming);
  }
  exchange.takes_long();
  auto answering = whole(**generation, std::move(answer));
  HttpReply reply = co_await std::move(answering);
  co_await exchange.reply(std::move(reply));
}

}  // namespace

void add_text_completions(Router& router, Generations& generations) {
  for (const char* const path : {"/beta/completions", "/beta/v1/completions", "/v1/completions"}) {
    router.add("POST", path,
               [&generations](Exchange& exchange) { return answer_fim(exchange, generations); });
  }
}

}  // namespace lares::daemon
