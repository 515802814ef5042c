// Token ids in, token ids out, over a scripted model: what ends them, what is told of them, and
// what the next request need not evaluate again.
#include <algorithm>
#include <cmath>

#include "tests/daemon/completions/generator_case.h"

namespace lares::daemon {
namespace {

using Reason = GenerationEnd::Reason;
using test::Answered, test::read;
using Ids = std::vector<engine::Token>;

// The scripted tokenizer's ids are bytes, and control tokens behind them
constexpr engine::Token kFirstAdded = 256;

class RawCompletionTest : public test::GeneratorCase {
 protected:
  RawCompletionTest() { n_chunk = 1024; }
};

RawPrompt raw(const std::string& text, std::int64_t tokens_max = 1000) {
  RawPrompt prompt{.ids = {}, .allowed = {}, .sampling = {}, .tokens_max = tokens_max};
  for (const char c : text) prompt.ids.push_back(static_cast<unsigned char>(c));
  return prompt;
}
RawPrompt behind(RawPrompt prompt, const Ids& ids, std::size_t n) {
  prompt.ids.insert(prompt.ids.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(n));
  return prompt;
}
std::string text_of(const Ids& ids) { return {ids.begin(), ids.end()}; }

TEST_F(RawCompletionTest, ItGoesOnUntilTheEndAndTellsOfThatToo) {
  run({{.text = "</think>{\"a\": <b"}}, [](Generator& g) -> asio::awaitable<void> {
    auto asking = ask(g, raw("int f() {"));
    const Answered a = co_await std::move(asking);
    EXPECT_EQ(a.content, "</think>{\"a\": <b");  // no format is looked for in it
    EXPECT_EQ(a.reasoning, "");
    EXPECT_EQ(a.end.reason, Reason::stop);
    EXPECT_EQ(a.ids.size(), 10u);  // </think>, bytes, and the end
    EXPECT_GE(a.ids.front(), kFirstAdded);
    EXPECT_GE(a.ids.back(), kFirstAdded);
    EXPECT_EQ(a.end.usage.completion, 10);
    EXPECT_EQ(a.end.usage.prompt, 9);
    EXPECT_EQ(a.end.usage.reasoning, 0);
    EXPECT_EQ(g.counts().completion, 10);
    EXPECT_EQ(g.counts().running, 0u);
  });
  EXPECT_EQ(prompts.at(0), "int f() {");  // nothing before it, nothing behind it
}

TEST_F(RawCompletionTest, ItEndsAtItsLimitAndWhereTheContextIsFull) {
  n_context = 20;
  run({{.text = "abcdefgh"}, {.text = "x", .open_ended = true}},
      [](Generator& g) -> asio::awaitable<void> {
        auto asking = ask(g, raw("x", 3));
        const Answered a = co_await std::move(asking);
        EXPECT_EQ(text_of(a.ids), "abc");
        EXPECT_EQ(a.end.reason, Reason::length);
        EXPECT_EQ(a.end.what, "");
        auto filling = ask(g, raw("0123456789abcdefgh"));
        const Answered b = co_await std::move(filling);
        EXPECT_EQ(text_of(b.ids), "xx");
        EXPECT_EQ(b.end.reason, Reason::context);
        auto too_long = ask(g, raw("0123456789abcdefghij"));
        const Answered c = co_await std::move(too_long);
        EXPECT_TRUE(c.refusal && c.refusal->kind == Refusal::Kind::too_long &&
                    c.refusal->parameter == "prompt");
        EXPECT_TRUE(c.refusal && c.refusal->message.find("20 tokens > 19, ") != std::string::npos);
      });
}

TEST_F(RawCompletionTest, ACodePointIsNeverTornAndItsIdsAreToldAtOnce) {
  run({{.text = "aé"}, {.text = "aé"}}, [](Generator& g) -> asio::awaitable<void> {
    auto beginning = g.begin(raw("x"), {});
    auto generation = co_await std::move(beginning);
    if (!generation) co_return ADD_FAILURE();
    Ids ids;
    std::string text;
    for (;;) {
      auto saying = (*generation)->next();
      const auto events = co_await std::move(saying);
      if (events.empty()) break;
      EXPECT_EQ(events.size(), 1u);
      const auto& said = std::get<ContentText>(events.front());
      EXPECT_FALSE(said.ids.empty());
      EXPECT_EQ(valid_utf8(said.text), said.text);
      EXPECT_TRUE(!ids.empty() || said.ids.size() == 1);  // the first one at once
      ids.insert(ids.end(), said.ids.begin(), said.ids.end());
      text += said.text;
    }
    EXPECT_EQ(text, "aé");
    EXPECT_EQ(ids.size(), 4u);
    auto cutting = ask(g, raw("y", 2));  // in the middle of it
    const Answered cut = co_await std::move(cutting);
    EXPECT_EQ(cut.content, "a\ufffd");
    EXPECT_EQ(text_of(cut.ids), "a\xc3");
  });
}

TEST_F(RawCompletionTest, EveryDrawIsOneOfThoseAllowed) {
  run({{.text = "abc"}, {.text = "abab"}}, [](Generator& g) -> asio::awaitable<void> {
    RawPrompt prompt = raw("x", 3);
    prompt.allowed = {'z'};
    auto asking = ask(g, prompt);
    EXPECT_EQ(text_of((co_await std::move(asking)).ids), "zzz");
    prompt.allowed = {'b', 'y'};
    auto two = ask(g, prompt);
    EXPECT_EQ(text_of((co_await std::move(two)).ids), "bbb");
  });
  EXPECT_EQ(n_masked, 3 + 3);  // of "abab" the first a, which is wanted again and again
}

// A client that draws to the end, one that goes on from within the answer, and one that asks for a
// token at a time.
TEST_F(RawCompletionTest, EveryTokenHasItsLogprobsByIdOrByText) {
  const Play play{.text = "ab", .others = {{1, {"z", -1.5f}}}};
  run({play, play}, [](Generator& g) -> asio::awaitable<void> {
    for (const bool by_id : {true, false}) {
      RawPrompt prompt = raw("x");
      prompt.n_logprobs = 2, prompt.names_ids = by_id;
      auto asking = ask(g, prompt);
      const Answered a = co_await std::move(asking);
      EXPECT_EQ(a.logprobs.size(), a.ids.size());  // the end's, too
      const TokenLogprob& b = a.logprobs.at(1);
      EXPECT_EQ(b.token, by_id ? "token_id:98" : "b");
      EXPECT_NEAR(b.logprob, std::log(1 - std::exp(-1.5)), 1e-6);
      EXPECT_EQ(b.top.at(1), std::pair(std::string(by_id ? "token_id:122" : "z"), -1.5f));
    }
  });
}

TEST_F(RawCompletionTest, WhatGoesOnEvaluatesWhatIsNew) {
  const std::string said(600, 's');
  run({{.text = said}, {.text = "A"}, {.text = "B"}, {.text = "C"}, {.text = "D"}},
      [](Generator& g) -> asio::awaitable<void> {
        const RawPrompt first = raw(std::string(300, 'x'));
        auto asking = ask(g, first);
        const Answered a = co_await std::move(asking);
        EXPECT_EQ(a.end.usage.cached, 0);
        EXPECT_EQ(a.ids.size(), 601u);
        auto most = ask(g, behind(first, a.ids, 599));
        EXPECT_EQ((co_await std::move(most)).end.usage.cached, 896);  // 7 * 128
        auto whole = ask(g, behind(first, a.ids, 601));
        // All but the end, which was drawn last
        EXPECT_EQ((co_await std::move(whole)).end.usage.cached, 900);
        auto some = ask(g, behind(first, a.ids, 10));
        EXPECT_EQ((co_await std::move(some)).end.usage.cached, 300);
        auto again = ask(g, first);
        EXPECT_EQ((co_await std::move(again)).end.usage.cached, 256);
      });
}

TEST_F(RawCompletionTest, ATokenAtATimeEvaluatesATokenAtATime) {
  run({{.text = "A"}, {.text = "B"}, {.text = "C"}}, [](Generator& g) -> asio::awaitable<void> {
    RawPrompt prompt = raw(std::string(300, 'x'), 1);
    for (int i = 0; i < 3; ++i) {
      auto asking = ask(g, prompt);
      const Answered a = co_await std::move(asking);
      EXPECT_EQ(a.end.reason, Reason::length);
      EXPECT_EQ(a.end.usage.cached, i == 0 ? 0 : 299 + i);
      prompt = behind(prompt, a.ids, 1);
    }
  });
}

TEST_F(RawCompletionTest, APromptThatWasFoundButForAFewTokensIsNotKeptOnceMore) {
  run({{.text = "A"}, {.text = "B"}, {.text = "C"}, {.text = "D"}, {.text = "E"}},
      [](Generator& g) -> asio::awaitable<void> {
        const RawPrompt first = raw(std::string(300, 'x'));
        auto asking = ask(g, first);
        co_await std::move(asking);
        for (const std::size_t n : {16u, 17u}) {
          const RawPrompt more = behind(first, Ids(n, 'a' + static_cast<engine::Token>(n)), n);
          auto a = ask(g, more);
          EXPECT_EQ((co_await std::move(a)).end.usage.cached, 300);
          auto b = ask(g, behind(more, {'!', '!'}, 2));  // what the answer did not say
          EXPECT_EQ((co_await std::move(b)).end.usage.cached, n == 16 ? 300 : 317);
        }
      });
}

TEST_F(RawCompletionTest, WhoHangsUpGoesOnFromWhatCame) {
  std::stop_source stop;
  Play play{.text = "x", .open_ended = true};
  play.before_token = [&](std::int64_t at) {
    if (at == 20) stop.request_stop();
  };
  run({play, {.text = "Done."}}, [&](Generator& g) -> asio::awaitable<void> {
    const RawPrompt prompt = raw(std::string(300, 'x'));
    auto asking = ask(g, prompt, stop.get_token());
    const Answered a = co_await std::move(asking);
    EXPECT_EQ(a.end.reason, Reason::cancelled);
    EXPECT_EQ(a.ids.size(), 21u);
    auto going_on = ask(g, behind(prompt, a.ids, 21));
    const Answered b = co_await std::move(going_on);
    EXPECT_EQ(b.content, "Done.");
    EXPECT_EQ(b.end.usage.cached, 320);
  });
}

TEST_F(RawCompletionTest, WhatIsNoPromptIsRefusedByItsPlace) {
  run({{.text = "x"}}, [&](Generator& g) -> asio::awaitable<void> {
    const int vocab = engine_->info().vocab_size;
    RawPrompt low = raw("xxx"), high = raw("xxx"), mask = raw("x");
    low.ids[1] = -1, high.ids[2] = vocab, mask.allowed = {0, vocab};
    for (const auto& [prompt, parameter] :
         {std::pair(low, "prompt[1]"), std::pair(high, "prompt[2]"),
          std::pair(mask, "allowed_token_ids[1]"), std::pair(RawPrompt{}, "prompt")}) {
      auto asking = ask(g, prompt);
      const Answered a = co_await std::move(asking);
      if (!a.refusal) co_return ADD_FAILURE() << parameter;
      EXPECT_EQ(a.refusal->kind, Refusal::Kind::invalid);
      EXPECT_EQ(a.refusal->parameter, parameter);
      EXPECT_NE(a.refusal->message.find(parameter), std::string::npos) << a.refusal->message;
    }
    high.ids[2] = vocab - 1, mask.allowed = {vocab - 1};
    auto last = ask(g, high);
    EXPECT_FALSE((co_await std::move(last)).refusal);
  });
}

TEST_F(RawCompletionTest, ATextsIdsAreThoseOfItsControlTokensToo) {
  run({}, [&](Generator& g) -> asio::awaitable<void> {
    auto encoding = g.tokenize("a<｜User｜>");
    const auto ids = co_await std::move(encoding);
    if (!ids || ids->size() != 2) co_return ADD_FAILURE();
    EXPECT_EQ(ids->front(), 'a');
    EXPECT_GE(ids->back(), kFirstAdded);
    EXPECT_EQ(g.context_max(), n_context);
  });
}

TEST_F(RawCompletionTest, AFailureOfTheEngineIsSaidAndTheDaemonsEndToo) {
  run({{.text = "abcdef", .fail_at = 3},
       {.text = "x", .fail_at = 0, .fails_with = engine::Errc::no_memory},
       {.text = "x", .open_ended = true}},
      [](Generator& g) -> asio::awaitable<void> {
        auto asking = ask(g, raw("x"));
        const Answered a = co_await std::move(asking);
        EXPECT_EQ(a.content, "abc");
        EXPECT_EQ(a.end.reason, Reason::failed);
        EXPECT_EQ(a.end.what, "the script fails here");
        EXPECT_FALSE(a.end.refused);
        auto asking_again = ask(g, raw("x"));
        const Answered full = co_await std::move(asking_again);
        EXPECT_TRUE(full.end.refused && full.end.refused->kind == Refusal::Kind::not_ready);
        auto beginning = g.begin(raw("y"), {});
        auto generation = co_await std::move(beginning);
        if (!generation) co_return ADD_FAILURE();
        auto saying = (*generation)->next();
        EXPECT_FALSE((co_await std::move(saying)).empty());
        g.end();
        auto rest = read(std::move(*generation));
        EXPECT_EQ((co_await std::move(rest)).end.reason, Reason::ending);
        auto late = ask(g, raw("y"));
        const Answered b = co_await std::move(late);
        EXPECT_TRUE(b.refusal && b.refusal->kind == Refusal::Kind::not_ready);
      });
}

}  // namespace
}  // namespace lares::daemon
