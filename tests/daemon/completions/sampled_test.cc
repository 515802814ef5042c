#include "daemon/completions/sampled.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lares::daemon {
namespace {

using Json = nlohmann::ordered_json;

Sampled call(std::string id, std::string arguments) {
  return {.prompt = 1,
          .reasoning = "hm",
          .content = "I look.",
          .calls = {{std::move(id), "read", std::move(arguments)}},
          .reasoning_ids = {7},
          .said_ids = {8, 9}};
}
Json message(const std::string& content, const std::string& id = "",
             const std::string& arguments = "") {
  Json out = {{"role", "assistant"}, {"content", content}};
  if (!id.empty())
    out["tool_calls"] =
        Json::array({Json{{"id", id}, {"function", {{"name", "read"}, {"arguments", arguments}}}}});
  return out;
}

TEST(SampledAnswers, ACallIsFoundByItsIdHoweverItsArgumentsAreSpelt) {
  SampledAnswers answers;
  answers.add(call("call_1", R"({"path": "a", "line": 1.0})"));
  const auto found = answers.find(message("I look.\n", "call_1", R"({"line":1,"path":"a"})"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->said_ids, (std::vector<engine::Token>{8, 9}));
}

// JavaScript reads every number as a double, and writes that.
TEST(SampledAnswers, AnIntegerBeyondWhatADoubleHoldsComesBackRounded) {
  SampledAnswers answers;
  answers.add(call("call_1", R"({"ids": [9007199254740993, {"n": 18446744073709551615}],)"
                             R"( "big": 123456789012345678901234567890, "x": 0.10})"));
  const auto found = [&](const char* arguments) {
    return answers.find(message("I look.", "call_1", arguments)) != nullptr;
  };
  EXPECT_TRUE(found(R"({"ids":[9007199254740992,{"n":18446744073709552000}],)"
                    R"("big":1.2345678901234568e+29,"x":0.1})"));
  EXPECT_FALSE(found(R"({"ids":[9007199254740994,{"n":18446744073709552000}],)"
                     R"("big":1.2345678901234568e+29,"x":0.1})"));
  EXPECT_FALSE(found(R"({"ids":[9007199254740992,{"m":18446744073709552000}],)"
                     R"("big":1.2345678901234568e+29,"x":0.1})"));
  EXPECT_FALSE(found(R"({"ids":[9007199254740992],"big":1.2345678901234568e+29,"x":0.1})"));
}

TEST(SampledAnswers, WhatTheClientChangedIsNotWhatWasSampled) {
  SampledAnswers answers;
  answers.add(call("call_1", R"({"path": "a"})"));
  EXPECT_FALSE(answers.find(message("I look.", "call_1", R"({"path": "b"})")));
  EXPECT_FALSE(answers.find(message("You look.", "call_1", R"({"path": "a"})")));
  EXPECT_FALSE(answers.find(message("I look.", "call_2", R"({"path": "a"})")));
  EXPECT_FALSE(answers.find(message("I look.")));
  EXPECT_TRUE(answers.find(message("I look.", "call_1", R"({"path": "a"})")));
}

TEST(SampledAnswers, OfSeveralWithOneTextTheOneThatAnsweredThePromptComesFirstThenTheReasoning) {
  SampledAnswers answers;
  for (const auto& [prompt, reasoning] :
       {std::pair(1, "one"), std::pair(2, "two"), std::pair(3, "three")}) {
    answers.add({.prompt = static_cast<std::uint64_t>(prompt),
                 .reasoning = reasoning,
                 .content = "Done.",
                 .calls = {},
                 .reasoning_ids = {},
                 .said_ids = {prompt}});
  }
  const Json plain = message("Done.");
  Json thought = plain;
  thought["reasoning_content"] = "two\n";
  EXPECT_EQ(answers.find(plain, 3)->prompt, 3u);
  EXPECT_EQ(answers.find(plain, 1)->prompt, 1u);
  EXPECT_EQ(answers.find(thought)->prompt, 2u);
  EXPECT_EQ(answers.find(thought, 3)->prompt, 2u);  // another's reasoning
}

TEST(SampledAnswers, TheLeastRecentlyUsedIsGivenUp) {
  const std::string big(1000, 'x');
  SampledAnswers answers(3500);
  for (const char* const id : {"call_1", "call_2"})
    answers.add(call(id, "{\"path\": \"" + big + "\"}"));
  const Json first = message("I look.", "call_1", "{\"path\": \"" + big + "\"}"),
             second = message("I look.", "call_2", "{\"path\": \"" + big + "\"}");
  EXPECT_TRUE(answers.find(first));
  answers.add(call("call_3", "{\"path\": \"" + big + "\"}"));
  EXPECT_TRUE(answers.find(first));
  EXPECT_FALSE(answers.find(second));
  EXPECT_LE(answers.bytes(), 3500u);
}

TEST(SampledAnswers, TheSameAnswerToTheSamePromptIsKeptOnceAndFewWithOneText) {
  SampledAnswers answers;
  const auto done = [](std::uint64_t prompt) {
    return Sampled{.prompt = prompt,
                   .reasoning = "",
                   .content = "Done.",
                   .calls = {},
                   .reasoning_ids = {},
                   .said_ids = {1}};
  };
  answers.add(done(1));
  const std::uint64_t one = answers.bytes();
  answers.add(done(1));
  EXPECT_EQ(answers.bytes(), one);
  for (std::uint64_t prompt = 2; prompt < 3 * kSameTextMax; ++prompt) answers.add(done(prompt));
  EXPECT_EQ(answers.bytes(), kSameTextMax * one);
  EXPECT_EQ(answers.find(message("Done."), 3 * kSameTextMax - 1)->prompt, 3 * kSameTextMax - 1);
}

TEST(SampledAnswers, MessagesOfAnyShapeAreRead) {
  SampledAnswers answers;
  answers.add(call("call_1", "{}"));
  for (const char* const text :
       {R"({})", R"({"tool_calls": [1]})", R"({"content": 1, "tool_calls": [{"id": "call_1"}]})",
        R"({"content": "I look.", "tool_calls": [{"id": "call_1", "function": 1}]})"}) {
    EXPECT_FALSE(answers.find(Json::parse(text))) << text;
  }
}

}  // namespace
}  // namespace lares::daemon
