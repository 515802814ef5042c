#include "daemon/remote/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "daemon/remote/foreign.h"

namespace lares::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Finish = CompletionPiece::Finish;

std::vector<engine::Token> ids_of(const CompletionPiece& piece) {
  std::vector<engine::Token> out;
  for (const DrawnToken& token : piece.tokens) out.push_back(token.id);
  return out;
}

TEST(RemoteWire, APieceHasTheIdsAndTheEnd) {
  const auto piece = completion_piece(
      R"({"choices": [{"text": "a", "token_ids": [1, 299], "finish_reason": null}]})", 300);
  ASSERT_TRUE(piece);
  EXPECT_THAT(ids_of(*piece), ElementsAre(1, 299));
  EXPECT_EQ(piece->finish, Finish::none);
  const auto finish = [](const char* word) {
    const auto got = completion_piece(std::string(R"({"choices": [{"text": "", "token_ids": null,
                                       "finish_reason": ")") +
                                          word + "\"}]}",
                                      300);
    return got ? std::optional(got->finish) : std::nullopt;
  };
  EXPECT_EQ(finish("stop"), Finish::stop);
  EXPECT_EQ(finish("length"), Finish::length);
  EXPECT_EQ(finish("abort"), std::nullopt);
  EXPECT_TRUE(completion_piece(R"({"choices": [], "usage": {}})", 300)->tokens.empty());
}

TEST(RemoteWire, WhatIsNoPieceIsSaid) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "no JSON object"},
      {"[1]", "no JSON object"},
      {"{}", "no choices"},
      {R"({"choices": 3})", "no choices"},
      {R"({"choices": [3]})", "no object"},
      {R"({"choices": [{"token_ids": [300]}]})", "no token's id"},
      {R"({"choices": [{"token_ids": [-1]}]})", "no token's id"},
      {R"({"choices": [{"token_ids": [1.5]}]})", "no token's id"},
      {R"({"choices": [{"token_ids": [18446744073709551615]}]})", "no token's id"},
      {R"({"choices": [{"text": "a"}]})", "return_token_ids"},
      {R"({"error": {"message": "out of memory"}})", "broke off: out of memory"},
      {R"({"error": "gone"})", "broke off: gone"},
  };
  for (const auto& [event, why] : cases) {
    const auto piece = completion_piece(event, 300);
    ASSERT_FALSE(piece) << event;
    EXPECT_THAT(piece.error().message, HasSubstr(why));
  }
}

TEST(RemoteWire, LogprobsStandWithTheirTokens) {
  const auto piece = completion_piece(
      R"({"choices": [{"token_ids": [5, 6, 7], "logprobs": {
            "token_logprobs": [-1.5, null, -0.25],
            "top_logprobs": [{"token_id:5": -1.5, "token_id:9": -0.5, "token_id:8": -0.5},
                             {"token_id:6": -1}, {"token_id:7": -0.25, "token_id:300": 0, "x": 0,
                              "token_id:-1": 0, "token_id:1x": 0, "token_id:": 0, "token_id:2": "a"}]}}]})",
      300);
  ASSERT_TRUE(piece);
  ASSERT_THAT(ids_of(*piece), ElementsAre(5, 6, 7));
  EXPECT_EQ(piece->tokens[0].logprobs.drawn, -1.5f);
  EXPECT_THAT(piece->tokens[0].logprobs.top,
              ElementsAre(std::pair(8, -0.5f), std::pair(9, -0.5f), std::pair(5, -1.5f)));
  EXPECT_TRUE(piece->tokens[1].logprobs.top.empty());
  EXPECT_THAT(piece->tokens[2].logprobs.top, ElementsAre(std::pair(7, -0.25f)));
}

TEST(RemoteWire, LogprobsThatAreNoneHarmNobody) {
  for (const char* const logprobs :
       {"null", "3", "[]", "{}", R"({"token_logprobs": [0]})",
        R"({"token_logprobs": [0, 0], "top_logprobs": [{}]})",
        R"({"token_logprobs": [0], "top_logprobs": [{"token_id:5": 0}, {}]})",
        R"({"token_logprobs": [0, 0], "top_logprobs": {"token_id:5": 0, "token_id:6": 0}})",
        R"({"token_logprobs": 0, "top_logprobs": [{}, {}]})",
        R"({"token_logprobs": ["a", "b"], "top_logprobs": [{"token_id:5": 0}, 3]})"}) {
    const auto piece = completion_piece(
        std::string(R"({"choices": [{"token_ids": [5, 6], "logprobs": )") + logprobs + "}]}", 300);
    ASSERT_TRUE(piece) << logprobs;
    EXPECT_THAT(ids_of(*piece), ElementsAre(5, 6));
    for (const DrawnToken& token : piece->tokens)
      EXPECT_TRUE(token.logprobs.top.empty()) << logprobs;
  }
}

TEST(RemoteWire, WhatIsNestedDeeplyHarmsNobody) {
  constexpr std::size_t kDeep = 1'000'000;
  const std::string deep = std::string(kDeep, '[') + std::string(kDeep, ']');
  EXPECT_FALSE(completion_piece(R"({"error": )" + deep + "}", 300));
  EXPECT_FALSE(completion_piece(R"({"choices": )" + deep + "}", 300));
  EXPECT_FALSE(completion_piece(std::string(kDeep, '['), 300));
}

TEST(RemoteWire, NoTopPAtAllIsTheLikeliest) {
  const auto body = nlohmann::json::parse(
      completion_body("m", {.prompt = {}, .sampling = {.top_k = 5, .top_p = 0}}));
  EXPECT_EQ(body["top_k"], 1);
  EXPECT_EQ(body["top_p"], 1);
}

TEST(RemoteWire, WordsOfAServerAreBoundedAndPrintable) {
  EXPECT_EQ(words_of_server("a\n\x1b[2Jb\x7f"), "a  [2Jb ");
  const std::string cut = words_of_server(std::string(499, 'x') + "\u00e9");
  EXPECT_EQ(cut, std::string(499, 'x') + "...");
}

TEST(RemoteWire, AMasksIdsAscend) {
  EXPECT_THAT(allowed_ids({0b1001, 0, std::uint64_t{1} << 63}), ElementsAre(0, 3, 191));
  EXPECT_TRUE(allowed_ids({0, 0}).empty());
}

}  // namespace
}  // namespace lares::daemon
