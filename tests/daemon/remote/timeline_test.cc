#include "daemon/remote/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <thread>

#include "daemon/remote/remote.h"
#include "tests/daemon/remote/fake_server.h"

namespace lares::daemon {
namespace {

using engine::Errc;
using engine::Sampling;
using engine::Token;
using engine::TokenMask;
using testing::HasSubstr;
using Ids = std::vector<Token>;
using namespace std::chrono_literals;

TokenMask mask_of(const Ids& allowed) {
  TokenMask mask((FakeServer::kVocab + 63) / 64);
  for (const Token t : allowed)
    mask[static_cast<std::size_t>(t) / 64] |= std::uint64_t{1} << (t % 64);
  return mask;
}

class Remote : public testing::Test {
 protected:
  Remote() { reach(5'000ms); }
  void reach(std::chrono::milliseconds silence_max) {
    auto reached = RemoteServer::at(server_.url(), "", silence_max, 1ms);
    ASSERT_TRUE(reached) << reached.error().message;
    remote_ = std::move(*reached);
    model_ = {remote_.get(), "first", 5000, FakeServer::kVocab, FakeServer::kEos};
  }
  static Ids prompt(int n) {
    Ids out(static_cast<std::size_t>(n));
    std::iota(out.begin(), out.end(), 1);
    for (Token& t : out) t %= 250;
    return out;
  }
  static engine::Result<std::int64_t> sync(engine::Timeline& timeline, const Ids& to) {
    return timeline.sync(to, {}, nullptr);
  }
  static Ids draw(engine::Timeline& timeline, int n, const Sampling& sampling = {}) {
    Ids out;
    for (int i = 0; i < n; ++i) {
      const auto token = timeline.next(sampling, nullptr);
      if (!token) {
        ADD_FAILURE() << token.error().message;
        break;
      }
      out.push_back(*token);
    }
    return out;
  }
  std::size_t n_asked() const { return server_.asked().size(); }

  FakeServer server_;
  std::unique_ptr<RemoteServer> remote_;
  RemoteModel model_;
};

TEST_F(Remote, DrawsComeInOneStreamAndAreWhatTheServerDraws) {
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_EQ(sync(timeline, prompt(100)).value(), 100);
  EXPECT_EQ(n_asked(), 0u) << "so few wait for the first draw";
  Sampling sampling{.temperature = 0.5f, .top_k = 20, .top_p = 0.9f, .min_p = 0.1f};
  sampling.repetition_penalty = 1.1f, sampling.presence_penalty = 0.2f;
  sampling.frequency_penalty = 0.3f, sampling.seed = 7;
  EXPECT_EQ(draw(timeline, 40, sampling), server_.follow(prompt(100), 40));
  ASSERT_EQ(n_asked(), 1u);
  const auto asked = server_.asked()[0];
  EXPECT_EQ(asked["model"], "first");
  EXPECT_EQ(asked["prompt"], prompt(100));
  EXPECT_EQ(asked["max_tokens"], kDrawnAheadMax);
  EXPECT_EQ(asked["return_token_ids"], true);
  EXPECT_EQ(asked["stream"], true);
  const std::pair<const char*, double> floats[] = {{"temperature", 0.5},
                                                   {"top_p", 0.9},
                                                   {"min_p", 0.1},
                                                   {"repetition_penalty", 1.1},
                                                   {"presence_penalty", 0.2},
                                                   {"frequency_penalty", 0.3}};
  for (const auto& [key, value] : floats) EXPECT_NEAR(asked[key].get<double>(), value, 1e-6) << key;
  EXPECT_EQ(asked["top_k"], 20);
  EXPECT_EQ(asked["add_special_tokens"], false);
  EXPECT_EQ(asked["skip_special_tokens"], false);
  EXPECT_FALSE(asked.contains("allowed_token_ids"));
  EXPECT_EQ(timeline.tokens().size(), 140u);
}

TEST_F(Remote, AStreamThatHasGivenAllThatItWasAskedForIsFollowedByAnother) {
  server_.behave({.tokens_max = 7});
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  EXPECT_EQ(draw(timeline, 30), server_.follow(prompt(10), 30));
  EXPECT_EQ(n_asked(), 5u);
}

TEST_F(Remote, TheSeedHangsOnThePosition) {
  RemoteTimeline timeline(model_, nullptr);
  std::set<int> seeds;
  for (int n : {10, 11, 12, 10}) {
    ASSERT_TRUE(sync(timeline, prompt(n)));
    draw(timeline, 1, {.seed = 3});
    seeds.insert(server_.asked().back()["seed"].get<int>());
  }
  ASSERT_TRUE(sync(timeline, prompt(10)));
  draw(timeline, 1, {.seed = 4});
  seeds.insert(server_.asked().back()["seed"].get<int>());
  EXPECT_EQ(seeds.size(), 4u);
}

TEST_F(Remote, WhatMayNotBeDrawnIsDrawnAgainFromWhatMay) {
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  const Ids ahead = server_.follow(prompt(10), 3);
  const TokenMask fits = mask_of({ahead[0], 17}), other = mask_of({200, 201});
  ASSERT_EQ(timeline.next({}, &fits).value(), ahead[0]);
  ASSERT_NE(ahead[1], 200);
  ASSERT_NE(ahead[1], 201);
  const Token drawn = timeline.next({}, &other).value();
  EXPECT_TRUE(drawn == 200 || drawn == 201);
  ASSERT_EQ(n_asked(), 2u);
  const auto asked = server_.asked();
  EXPECT_EQ(asked[1]["allowed_token_ids"], (Ids{200, 201}));
  EXPECT_EQ(asked[1]["max_tokens"], 1);
  Ids so_far = prompt(10);
  so_far.insert(so_far.end(), {ahead[0], drawn});
  EXPECT_EQ(draw(timeline, 5), server_.follow(so_far, 5)) << "goes on behind what was drawn";
}

TEST_F(Remote, ADrawInAnothersPlaceIsIndependentOfIt) {
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  const TokenMask other = mask_of({200, 201});
  ASSERT_TRUE(timeline.next({}, &other));
  ASSERT_EQ(n_asked(), 2u);
  const auto asked = server_.asked();
  EXPECT_EQ(asked[0]["prompt"], asked[1]["prompt"]);
  EXPECT_NE(asked[0]["seed"], asked[1]["seed"]);
}

TEST_F(Remote, WhatAloneMayComeIsNotAskedFor) {
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  const TokenMask only = mask_of({42});
  ASSERT_EQ(timeline.next({}, &only).value(), 42);
  EXPECT_EQ(n_asked(), 0u);
  Ids so_far = prompt(10);
  so_far.push_back(42);
  const Ids ahead = server_.follow(so_far, 3);
  EXPECT_EQ(draw(timeline, 1), Ids{ahead[0]});
  const TokenMask comes = mask_of({ahead[1]});
  ASSERT_EQ(timeline.next({}, &comes).value(), ahead[1]);
  EXPECT_EQ(draw(timeline, 1), Ids{ahead[2]});
  EXPECT_EQ(n_asked(), 1u) << "it came of itself, so the stream goes on";
  const TokenMask another = mask_of({43});
  ASSERT_EQ(timeline.next({}, &another).value(), 43);
  EXPECT_EQ(n_asked(), 1u);
  so_far.insert(so_far.end(), {ahead[0], ahead[1], ahead[2], 43});
  EXPECT_EQ(draw(timeline, 2), server_.follow(so_far, 2));
}

TEST_F(Remote, AnotherSamplingBeginsAnotherStream) {
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  draw(timeline, 2);
  draw(timeline, 2, {.temperature = 0.3f});
  ASSERT_EQ(n_asked(), 2u);
  EXPECT_EQ(server_.asked()[1]["prompt"].size(), 12u);
}

TEST_F(Remote, TheEndOfSentenceComesWhetherTheServerCountsItOrNot) {
  for (const bool counted : {true, false}) {
    server_.behave({.tells_end = counted, .eos_at = 13});
    RemoteTimeline timeline(model_, nullptr);
    ASSERT_TRUE(sync(timeline, prompt(10)));
    const Ids drawn = draw(timeline, 4);
    EXPECT_EQ(drawn, server_.follow(prompt(10), 4)) << counted;
    EXPECT_EQ(drawn.back(), FakeServer::kEos) << counted;
  }
}

TEST_F(Remote, LongPromptsAreEvaluatedAndShortAdditionsWait) {
  RemoteTimeline timeline(model_, nullptr);
  std::int64_t told = 0;
  ASSERT_EQ(
      timeline.sync(prompt(3000), {}, [&](std::int64_t n, std::int64_t) { told = n; }).value(),
      3000);
  EXPECT_EQ(told, 3000);
  ASSERT_EQ(n_asked(), 1u);
  EXPECT_EQ(server_.asked()[0]["prompt"], prompt(3000));
  EXPECT_EQ(server_.asked()[0]["max_tokens"], 1);
  ASSERT_EQ(sync(timeline, prompt(3100)).value(), 100);
  ASSERT_EQ(sync(timeline, prompt(3255)).value(), 155);
  EXPECT_EQ(n_asked(), 1u);
  ASSERT_EQ(sync(timeline, prompt(3256)).value(), 1);
  ASSERT_EQ(n_asked(), 2u);
  EXPECT_EQ(server_.asked()[1]["prompt"].size(), 3256u);
  Ids other = prompt(3256);
  other[500] = 299;
  ASSERT_EQ(sync(timeline, other).value(), 2756);
  EXPECT_EQ(n_asked(), 3u) << "behind what is another all is new";
  ASSERT_EQ(sync(timeline, prompt(5000)).value(), 4500);
  EXPECT_EQ(n_asked(), 3u) << "behind a whole context nothing is drawn";
  const auto much = sync(timeline, prompt(5001));
  ASSERT_FALSE(much);
  EXPECT_EQ(much.error().code, Errc::too_long);
  EXPECT_THAT(much.error().message, HasSubstr("5001 tokens are more than the 5000"));
  EXPECT_EQ(timeline.tokens().size(), 5000u);
  const auto full = timeline.next({}, nullptr);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Errc::too_long);
}

TEST_F(Remote, ABeginningThatOthersKeepStaysWhatItIs) {
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(3000)));
  const auto kept = timeline.prefix(2500), all = timeline.prefix(3000);
  EXPECT_EQ(kept->tokens().data(), all->tokens().data()) << "not copied";
  EXPECT_EQ(timeline.prefix(3001), nullptr);
  EXPECT_EQ(timeline.prefix(0), nullptr);
  Ids other = prompt(2000);
  other[1000] = 299;
  ASSERT_TRUE(sync(timeline, other));
  EXPECT_TRUE(std::ranges::equal(kept->tokens(), prompt(2500)));
  EXPECT_TRUE(std::ranges::equal(all->tokens(), prompt(3000)));

  RemoteTimeline fork(model_, kept);
  const std::size_t before = n_asked();
  EXPECT_EQ(sync(fork, prompt(2600)).value(), 100);
  EXPECT_EQ(n_asked(), before) << "the server has that";
  EXPECT_EQ(draw(fork, 3), server_.follow(prompt(2600), 3));
}

TEST_F(Remote, WhatBreaksGoesOnWhereItBroke) {
  server_.behave({.break_off = 3, .break_after = 5});
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  EXPECT_EQ(draw(timeline, 30), server_.follow(prompt(10), 30));
  EXPECT_EQ(n_asked(), 4u);
}

TEST_F(Remote, AStreamThatHangsIsBegunAgainWhereItHangs) {
  reach(2'000ms);
  server_.behave({.break_off = 1, .break_after = 5, .hangs = true});
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  EXPECT_EQ(draw(timeline, 30), server_.follow(prompt(10), 30));
  EXPECT_EQ(n_asked(), 2u);
}

TEST_F(Remote, WhatBreaksAtOnceIsGivenUpAfterSomeTries) {
  server_.behave({.break_off = 100, .break_after = 0});
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  const auto token = timeline.next({}, nullptr);
  ASSERT_FALSE(token);
  EXPECT_THAT(token.error().message, HasSubstr("tried 4 times"));
  EXPECT_EQ(n_asked(), static_cast<std::size_t>(kRemoteTries));
  EXPECT_EQ(timeline.tokens().size(), 10u);
  server_.behave({});
  EXPECT_EQ(draw(timeline, 3), server_.follow(prompt(10), 3)) << "and may be asked again";
}

TEST_F(Remote, AServerWithoutRoomIsAskedAgainAndOneThatRefusesIsNot) {
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  server_.behave({.refuse = 3, .refuse_with = 503});
  EXPECT_EQ(draw(timeline, 2), server_.follow(prompt(10), 2));
  EXPECT_EQ(n_asked(), 4u);
  ASSERT_TRUE(sync(timeline, prompt(20)));
  server_.behave({.refuse = 1, .refuse_with = 400});
  const auto token = timeline.next({}, nullptr);
  ASSERT_FALSE(token);
  EXPECT_THAT(token.error().message, HasSubstr("refused it with 400 Whatever: not now"));
  EXPECT_EQ(n_asked(), 5u);
}

TEST_F(Remote, APromptAndADrawInAnothersPlaceAreAskedForAgainWhereTheyBreak) {
  server_.behave({.break_off = 2, .break_after = 0});
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_EQ(sync(timeline, prompt(300)).value(), 300);
  EXPECT_EQ(n_asked(), 3u);
  const TokenMask other = mask_of({200, 201});
  const Token ahead = server_.follow(prompt(300), 1)[0];
  ASSERT_TRUE(ahead != 200 && ahead != 201);
  Ids so_far = prompt(300);
  so_far.push_back(ahead);
  EXPECT_EQ(draw(timeline, 1), Ids{ahead});
  server_.behave({.break_off = 2, .break_after = 0});
  const auto token = timeline.next({}, &other);
  ASSERT_TRUE(token) << token.error().message;
  EXPECT_TRUE(*token == 200 || *token == 201);
  EXPECT_EQ(n_asked(), 7u);
}

TEST_F(Remote, WhatTheServerHadIsNotCountedAsEvaluated) {
  server_.behave({.n_cached = 256});
  RemoteTimeline timeline(model_, nullptr);
  EXPECT_EQ(sync(timeline, prompt(600)).value(), 344);
  server_.behave({.n_cached = 5000});  // whatever it says
  EXPECT_EQ(sync(timeline, prompt(900)).value(), 0);
  server_.behave({.n_cached = 0});
  EXPECT_EQ(sync(timeline, prompt(1200)).value(), 300) << "this timeline had the others";
}

TEST_F(Remote, MinPIsLeftOutWhereTheServerCannot) {
  server_.behave({.takes_min_p = false});
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  EXPECT_EQ(draw(timeline, 3, {.min_p = 0.1f}), server_.follow(prompt(10), 3));
  EXPECT_EQ(n_asked(), 2u);
  ASSERT_TRUE(sync(timeline, prompt(11)));
  draw(timeline, 1, {.min_p = 0.1f});
  ASSERT_EQ(n_asked(), 3u) << "it is known by then";
  EXPECT_EQ(server_.asked()[2]["min_p"], 0);
}

TEST_F(Remote, LogprobsComeWithTheDrawsThatTheyAreExpectedOf) {
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  draw(timeline, 2);
  EXPECT_FALSE(server_.asked()[0].contains("logprobs"));
  EXPECT_TRUE(timeline.logprobs(8).top.empty());
  timeline.expect_logprobs(4);
  const auto expect_those_of = [&](Token token) {
    const auto place = [](int i) { return FakeServer::logprob(i); };
    const auto behind = [&](int i) { return (token + i) % FakeServer::kVocab; };
    EXPECT_EQ(timeline.logprobs(4).drawn, place(1));
    EXPECT_THAT(
        timeline.logprobs(4).top,
        testing::ElementsAre(std::pair(behind(1), place(0)), std::pair(token, place(1)),
                             std::pair(behind(2), place(2)), std::pair(behind(3), place(3))));
    EXPECT_EQ(timeline.logprobs(2).top.size(), 2u);
  };
  for (int i = 0; i < 5; ++i) expect_those_of(draw(timeline, 1)[0]);
  ASSERT_EQ(n_asked(), 2u) << "the stream without them does not do";
  EXPECT_EQ(server_.asked()[1]["logprobs"], 4);
  EXPECT_EQ(server_.asked()[1]["return_tokens_as_token_ids"], true);
  const TokenMask some = mask_of({200, 201}), one = mask_of({7});
  expect_those_of(timeline.next({}, &some).value());
  ASSERT_EQ(timeline.next({}, &one).value(), 7);
  EXPECT_TRUE(timeline.logprobs(4).top.empty()) << "of what was forced nobody was asked";
  draw(timeline, 1);
  const auto n = n_asked();
  timeline.expect_logprobs(0);
  draw(timeline, 1);
  EXPECT_EQ(n_asked(), n) << "a stream that has more than is wanted does";
}

TEST_F(Remote, LogprobsAreLeftOutWhereTheServerHasNone) {
  server_.behave({.takes_min_p = false, .takes_logprobs = false});
  RemoteTimeline timeline(model_, nullptr);
  timeline.expect_logprobs(8);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  EXPECT_EQ(draw(timeline, 3, {.min_p = 0.1f}), server_.follow(prompt(10), 3));
  EXPECT_TRUE(timeline.logprobs(8).top.empty());
  EXPECT_EQ(n_asked(), 3u) << "one for each of the two refusals";
  ASSERT_TRUE(sync(timeline, prompt(11)));
  draw(timeline, 1, {.min_p = 0.1f});
  ASSERT_EQ(n_asked(), 4u) << "it is known by then";
  EXPECT_FALSE(server_.asked()[3].contains("logprobs"));
}

// Each on a thread of its own, as ModelInfo::timelines_apart says.
TEST_F(Remote, SeveralAreDrawnAtTheSameTime) {
  constexpr int kTimelines = 8;
  server_.behave({.tokens_max = 5, .takes_min_p = false, .takes_logprobs = false});
  RemoteTimeline first(model_, nullptr);
  ASSERT_TRUE(sync(first, prompt(300)));
  const auto shared = first.prefix(300);
  std::vector<Ids> drawn(kTimelines);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kTimelines; ++i)
      threads.emplace_back([&, i] {
        RemoteTimeline timeline(model_, shared);
        timeline.expect_logprobs(i % 2 * 4);
        if (!sync(timeline, prompt(300 + i))) return;
        drawn[static_cast<std::size_t>(i)] = draw(timeline, 20, {.min_p = 0.1f});
      });
    draw(first, 20);
  }
  for (int i = 0; i < kTimelines; ++i)
    EXPECT_EQ(drawn[static_cast<std::size_t>(i)], server_.follow(prompt(300 + i), 20)) << i;
}

TEST_F(Remote, TextWithoutIdsIsOfNoUse) {
  server_.behave({.tells_ids = false});
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  const auto token = timeline.next({}, nullptr);
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().code, Errc::unsupported);
  EXPECT_THAT(token.error().message, HasSubstr("vLLM 0.10.2"));
  EXPECT_EQ(n_asked(), 1u) << "and another try has none either";
}

TEST_F(Remote, AStopEndsTheWaitForADrawAndForAPrompt) {
  server_.behave({.silent = true});
  for (const bool prompted : {false, true}) {
    RemoteTimeline timeline(model_, nullptr);
    std::stop_source stop;
    std::jthread stopper([&, n = n_asked()] {
      while (n_asked() == n) std::this_thread::sleep_for(2ms);
      stop.request_stop();
    });
    Errc code{};
    if (prompted) {
      code = timeline.sync(prompt(3000), stop.get_token(), nullptr).error().code;
      EXPECT_EQ(timeline.tokens().size(), 0u);
    } else {
      ASSERT_TRUE(sync(timeline, prompt(10)));
      timeline.end_waits_at(stop.get_token());
      code = timeline.next({}, nullptr).error().code;
      EXPECT_EQ(timeline.tokens().size(), 10u);
    }
    EXPECT_EQ(code, Errc::cancelled) << prompted;
  }
  for (int i = 0; server_.n_cut_off() < 2 && i < 500; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(server_.n_cut_off(), 2) << "and the server hears of it";
}

TEST_F(Remote, AServerThatSaysNothingIsGivenUpOnceAndForAll) {
  reach(1'000ms);
  server_.behave({.silent = true});
  RemoteTimeline timeline(model_, nullptr);
  ASSERT_TRUE(sync(timeline, prompt(10)));
  const auto token = timeline.next({}, nullptr);
  ASSERT_FALSE(token);
  EXPECT_THAT(token.error().message, HasSubstr("said nothing for 1 s"));
  EXPECT_EQ(n_asked(), 1u);
}

}  // namespace
}  // namespace lares::daemon
