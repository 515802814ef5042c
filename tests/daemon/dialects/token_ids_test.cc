// Completions of token ids as clients see them: what of a request is understood, and what an answer
// has beside its text.
#include <gtest/gtest.h>

#include "daemon/dialects/dialects.h"
#include "daemon/dialects/text_completions_request.h"
#include "tests/daemon/dialects/fake_exchange.h"
#include "tests/daemon/dialects/request_cases.h"

namespace lares::daemon {
namespace {

using Ids = std::vector<engine::Token>;
using test::FakeGenerations, test::parsed;

tl::expected<TextCompletionRequest, WireError> read(const std::string& body) {
  return read_text_completion(parsed(body), {.temperature = 0.25f, .seed = 9});
}
RawPrompt raw(const std::string& body) {
  const auto request = read(body);
  EXPECT_TRUE(request) << (request ? "" : request.error().message);
  const auto* const prompt = request ? std::get_if<RawPrompt>(&request->what) : nullptr;
  EXPECT_TRUE(prompt);
  return prompt ? *prompt : RawPrompt();
}

TEST(TokenIdsRequest, LittleIsNeeded) {
  const RawPrompt prompt = raw(R"({"prompt": [0, 5, 2147483647]})");
  EXPECT_EQ(prompt.ids, (Ids{0, 5, 2147483647}));
  EXPECT_TRUE(prompt.allowed.empty());
  EXPECT_EQ(prompt.tokens_max, 16);
  EXPECT_EQ(prompt.n_logprobs, -1);
  EXPECT_EQ(prompt.sampling.temperature, 0.25f);  // what the daemon samples with
  EXPECT_EQ(prompt.sampling.seed, 9u);
}

TEST(TokenIdsRequest, EveryFieldIsMeant) {
  const std::string body = R"({"model": "m", "prompt": [1], "max_tokens": 393216, "temperature": 0,
      "top_p": 0.5, "top_k": -1, "min_p": 0.125, "repetition_penalty": 1.5, "presence_penalty": 0.5,
      "frequency_penalty": -0.5, "seed": 7, "stream": true, "stream_options": {"include_usage": true},
      "return_token_ids": true, "allowed_token_ids": [3, 4], "n": 1, "best_of": 1,
      "skip_special_tokens": false, "add_special_tokens": true, "suffix": null, "stop": [],
      "echo": false, "logprobs": 20, "return_tokens_as_token_ids": true})";
  const RawPrompt prompt = raw(body);
  EXPECT_EQ(prompt.allowed, (Ids{3, 4}));
  EXPECT_EQ(prompt.tokens_max, kOutputTokensMax);
  EXPECT_EQ(prompt.sampling.temperature, 0);
  EXPECT_EQ(prompt.sampling.top_p, 0.5f);
  EXPECT_EQ(prompt.sampling.top_k, 0);
  EXPECT_EQ(prompt.sampling.min_p, 0.125f);
  EXPECT_EQ(prompt.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(prompt.sampling.presence_penalty, 0.5f);
  EXPECT_EQ(prompt.sampling.frequency_penalty, -0.5f);
  EXPECT_EQ(prompt.sampling.seed, 7u);
  EXPECT_EQ(prompt.n_logprobs, 20);
  EXPECT_TRUE(prompt.names_ids);
  const auto request = read(body);
  ASSERT_TRUE(request);
  EXPECT_TRUE(request->stream && request->with_usage && request->with_ids);
  EXPECT_EQ(request->model, "m");
}

TEST(TokenIdsRequest, WhatIsWrongIsNamed) {
  const test::Wrong rows[] = {
      {R"({"prompt": []})", "prompt"},
      {R"({"prompt": ["a"]})", "prompt"},
      {R"({"prompt": [[1]]})", "prompt[0]"},
      {R"({"prompt": [1, true]})", "prompt[1]"},
      {R"({"prompt": [1, 2.0]})", "prompt[1]"},
      {R"({"prompt": [1, 2, -1]})", "prompt[2]"},
      {R"({"prompt": [1, null]})", "prompt[1]"},
      {R"({"prompt": [2147483648]})", "prompt[0]"},
      {R"({"prompt": [18446744073709551615]})", "prompt[0]"},
      {R"({"prompt": 1})", "prompt"},
      {R"({"prompt": [1], "allowed_token_ids": []})", "allowed_token_ids"},
      {R"({"prompt": [1], "allowed_token_ids": 1})", "allowed_token_ids"},
      {R"({"prompt": [1], "allowed_token_ids": [1, false]})", "allowed_token_ids[1]"},
      {R"({"prompt": [1], "suffix": "x"})", "suffix"},
      {R"({"prompt": [1], "stop": "x"})", "stop"},
      {R"({"prompt": [1], "echo": true})", "echo"},
      {R"({"prompt": [1], "logprobs": 21})", "logprobs"},
      {R"({"prompt": [1], "logprobs": true})", "logprobs"},
      {R"({"prompt": [1], "return_tokens_as_token_ids": 1})", "return_tokens_as_token_ids"},
      {R"({"prompt": [1], "n": 2})", "n"},
      {R"({"prompt": [1], "best_of": 2})", "best_of"},
      {R"({"prompt": [1], "max_tokens": 0})", "max_tokens"},
      {R"({"prompt": [1], "max_tokens": 393217})", "max_tokens"},
      {R"({"prompt": [1], "top_k": -2})", "top_k"},
      {R"({"prompt": [1], "logit_bias": {"1": 1}})", "logit_bias"},
      {R"({"prompt": [1], "return_token_ids": 1})", "return_token_ids"},
      {R"({"prompt": [1], "skip_special_tokens": 0})", "skip_special_tokens"},
      {R"({"prompt": [1], "add_special_tokens": "yes"})", "add_special_tokens"},
      {R"({"prompt": [1], "model": "deepseek-chat"})", "model"},
  };
  test::expect_refused(read, rows);
}

// An answer of three slices; the second ends within a code point.
FakeGenerations says() {
  FakeGenerations generations;
  generations.script.steps = {{ContentText{.text = "a", .ids = {7}}},
                              {ContentText{.text = "", .ids = {8}}},
                              {ContentText{.text = "é", .ids = {9, 1}}}};
  generations.script.end = {.reason = GenerationEnd::Reason::stop,
                            .what = "",
                            .usage = {.prompt = 3, .cached = 2, .completion = 4, .reasoning = 0}};
  return generations;
}

TEST(TokenIdsAnswer, AWholeOneHasThemAll) {
  FakeGenerations generations = says();
  for (const char* const path : {"/v1/completions", "/beta/completions", "/beta/v1/completions"}) {
    const auto ex = test::ask(add_text_completions, generations, "POST", path,
                              R"({"prompt": [4, 5, 6], "return_token_ids": true})");
    EXPECT_EQ(generations.raw.ids, (Ids{4, 5, 6}));
    EXPECT_TRUE(ex->took_long);
    const WireJson answer = parsed(ex->answer.body);
    EXPECT_EQ(answer["object"], "text_completion");
    EXPECT_EQ(
        answer["choices"].dump(),
        R"([{"text":"aé","index":0,"logprobs":null,"finish_reason":"stop","token_ids":[7,8,9,1]}])");
    EXPECT_EQ(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
  }
}

TEST(TokenIdsAnswer, AStreamTellsEachAsItComes) {
  FakeGenerations generations = says();
  const auto choices = [&](const std::string& fields) {
    const auto ex = test::ask(add_text_completions, generations, "POST", "/v1/completions",
                              R"({"prompt": [4], "stream": true)" + fields + "}");
    std::string out;
    for (const test::Sent& sent : test::sent_events(ex->answer.body))
      out += (sent.data == "[DONE]" ? sent.data : parsed(sent.data)["choices"].dump()) + "\n";
    return out;
  };
  EXPECT_EQ(choices(R"(, "return_token_ids": true, "stream_options": {"include_usage": true})"),
            R"([{"text":"a","index":0,"logprobs":null,"finish_reason":null,"token_ids":[7]}])"
            "\n"
            R"([{"text":"","index":0,"logprobs":null,"finish_reason":null,"token_ids":[8]}])"
            "\n"
            R"([{"text":"é","index":0,"logprobs":null,"finish_reason":null,"token_ids":[9,1]}])"
            "\n"
            R"([{"text":"","index":0,"logprobs":null,"finish_reason":"stop","token_ids":[]}])"
            "\n[]\n[DONE]\n");
  EXPECT_EQ(choices("").find("token_ids"), std::string::npos);
}

TEST(TokenIdsAnswer, LogprobsStandInColumns) {
  FakeGenerations generations = says();
  generations.script.steps = {
      {ContentText{.text = "a", .logprobs = {{"token_id:7", -0.5f, {{"token_id:8", -0.25f}}}}}},
      {ContentText{.text = "b", .logprobs = {{"token_id:9", -1, {}}}}}};
  const auto ask = [&](const char* more) {
    const auto ex = test::ask(add_text_completions, generations, "POST", "/v1/completions",
                              std::string(R"({"prompt": [4], "logprobs": 1)") + more + "}");
    return parsed(ex->answer.body)["choices"][0]["logprobs"];
  };
  WireJson columns = ask(R"(, "return_tokens_as_token_ids": true)");
  EXPECT_EQ(columns["text_offset"].dump(), "[]");  // a name has no place in the text
  columns.erase("text_offset");
  EXPECT_EQ(columns, parsed(R"({"tokens": ["token_id:7", "token_id:9"],
                                "token_logprobs": [-0.5, -1.0],
                                "top_logprobs": [{"token_id:8": -0.25}, {}]})"));
  EXPECT_EQ(ask("")["text_offset"].dump(), "[0,10]");
}

TEST(TokenIdsAnswer, AnErrorIsToldInItsPlace) {
  FakeGenerations generations = says();
  generations.script.end.reason = GenerationEnd::Reason::failed;
  const auto ask = [&](const char* body) {
    return test::ask(add_text_completions, generations, "POST", "/v1/completions", body)->answer;
  };
  EXPECT_EQ(ask(R"({"prompt": [4]})").status, 500u);
  const std::string cut = ask(R"({"prompt": [4], "stream": true})").body;
  EXPECT_LT(cut.find("data: {\"error\":{"), cut.find("insufficient_system_resource")) << cut;
  generations.refusal = Refusal{Refusal::Kind::too_long, "too long", "prompt"};
  const HttpReply refused = ask(R"({"prompt": [4], "stream": true})");
  EXPECT_EQ(refused.status, 400u);
  EXPECT_EQ(parsed(refused.body)["error"]["code"], "context_length_exceeded");
}

// ---- what a client needs besides

TEST(Tokenize, ATextHasItsIds) {
  FakeGenerations generations;
  const auto ex = test::ask(add_tokenize, generations, "POST", "/tokenize",
                            R"({"model": "m", "prompt": "a<b", "add_special_tokens": true})");
  EXPECT_EQ(generations.tokenised, "a<b");
  EXPECT_EQ(ex->answer.body, R"({"count":3,"max_model_len":4096,"tokens":[5,6,7]})");
  EXPECT_EQ(ex->request().body, "");  // it is let go
}

TEST(Tokenize, WhatIsNoTextIsRefused) {
  FakeGenerations generations;
  for (const auto& [body, parameter] :
       {std::pair(R"({"messages": [{"role": "user", "content": "x"}]})", "messages"),
        std::pair(R"({"prompt": "x", "messages": []})", "messages"), std::pair("{}", "prompt"),
        std::pair(R"({"prompt": [1]})", "prompt"),
        std::pair(R"({"prompt": "x", "add_special_tokens": 1})", "add_special_tokens")}) {
    const auto ex = test::ask(add_tokenize, generations, "POST", "/tokenize", body);
    EXPECT_EQ(ex->answer.status, 400u) << body;
    EXPECT_EQ(parsed(ex->answer.body)["error"]["param"], parameter) << body;
  }
  generations.refusal = Refusal{Refusal::Kind::not_ready, "later"};
  EXPECT_EQ(test::ask(add_tokenize, generations, "POST", "/tokenize", R"({"prompt": "x"})")
                ->answer.status,
            503u);
}

TEST(Models, EachSaysWhatItHoldsOnceItIsKnown) {
  FakeGenerations generations;
  const auto models = [&] {
    const auto list = test::ask(add_models, generations, "GET", "/v1/models", "");
    const auto one = test::ask(add_models, generations, "GET", "/v1/models/m", "");
    WireJson all = parsed(list->answer.body)["data"];
    all.push_back(parsed(one->answer.body));
    return all;
  };
  for (const WireJson& model : models()) EXPECT_EQ(model["max_model_len"], 4096) << model;
  for (const WireJson& model : models()) EXPECT_FALSE(model.contains("meta")) << model;
  generations.parameters = 7;
  for (const WireJson& model : models()) EXPECT_EQ(model["meta"]["n_params"], 7) << model;
  generations.context.reset();
  for (const WireJson& model : models()) EXPECT_FALSE(model.contains("max_model_len")) << model;
}

}  // namespace
}  // namespace lares::daemon
