#include "daemon/remote/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(RemoteWire, AMasksIdsAscend) {
  EXPECT_THAT(allowed_ids({0b1001, 0, std::uint64_t{1} << 63}), ElementsAre(0, 3, 191));
  EXPECT_TRUE(allowed_ids({0, 0}).empty());
}

}  // namespace
}  // namespace lares::daemon
