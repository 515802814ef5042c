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

TEST(RemoteWire, APieceHasTheIdsAndTheEnd) {
  const auto piece = completion_piece(
      R"({"choices": [{"text": "a", "token_ids": [1, 299], "finish_reason": null}]})", 300);
  ASSERT_TRUE(piece);
  EXPECT_THAT(piece->tokens, ElementsAre(1, 299));
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
