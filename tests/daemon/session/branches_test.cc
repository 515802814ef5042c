// The likeliest answers that were not given.
#include "daemon/turn/branches.h"

#include <cmath>

#include <gmock/gmock.h>

namespace lares::daemon {
namespace {

using ::testing::ElementsAre;

float log_of(double p) { return static_cast<float>(std::log(p)); }

TEST(Choice, IsAmongWhatTheGrammarAllowed) {
  const engine::Logprobs all{
      log_of(0.1), {{5, log_of(0.6)}, {70, log_of(0.2)}, {7, log_of(0.1)}, {9, log_of(0.05)}}};
  const engine::TokenMask mask{std::uint64_t{1} << 7 | std::uint64_t{1} << 9,
                               std::uint64_t{1} << (70 - 64)};
  const Choice choice = choice_of(7, all, &mask);
  EXPECT_NEAR(choice.drawn, std::log(0.1 / 0.35), 1e-5);
  ASSERT_EQ(choice.others.size(), 2u);
  EXPECT_EQ(choice.others[0].first, 70);
  EXPECT_NEAR(choice.others[0].second, std::log(0.2 / 0.35), 1e-5);
  EXPECT_EQ(choice.others[1].first, 9);
  EXPECT_NEAR(choice_of(7, all, nullptr).others[0].second, std::log(0.6 / 0.95), 1e-5);
}

TEST(Choice, WhatIsForcedHasNoOther) {
  const engine::Logprobs all{log_of(1e-6), {{5, log_of(0.9)}, {6, log_of(0.1)}}};
  const engine::TokenMask mask{std::uint64_t{1} << 7};
  EXPECT_NEAR(choice_of(7, all, &mask).drawn, 0, 1e-5);
  EXPECT_TRUE(choice_of(7, all, &mask).others.empty());
  EXPECT_TRUE(choice_of(7, {}, nullptr).others.empty());
}

TEST(Choice, LeavesOutWhatIsNoWayToGoOn) {
  const Choice choice = choice_of(
      1, {log_of(0.99), {{1, log_of(0.99)}, {2, log_of(0.005)}, {3, log_of(0.0005)}}}, nullptr);
  ASSERT_EQ(choice.others.size(), 1u);
  EXPECT_EQ(choice.others[0].first, 2);
}

TEST(Branches, ComeTheLikeliestFirst) {
  Branches branches;
  EXPECT_FALSE(branches.next(1));
  // 10 20 30, of probabilities 0.5, 0.9, 0.6
  branches.add(std::vector<engine::Token>{10, 20, 30},
               std::vector<Choice>{{log_of(0.5), {{11, log_of(0.3)}, {12, log_of(0.2)}}},
                                   {log_of(0.9), {{21, log_of(0.1)}}},
                                   {log_of(0.6), {{31, log_of(0.4)}}}},
               std::nullopt, 0);
  const auto first = branches.next(1);  // 11: 0.3; 31: 0.5 x 0.9 x 0.4 = 0.18; 12: 0.2; 21: 0.05
  ASSERT_TRUE(first);
  EXPECT_THAT(first->tokens, ElementsAre(11));
  EXPECT_THAT(first->parts, ElementsAre(DrawnPart{0, 0}, DrawnPart{0, 1}));
  EXPECT_NEAR(first->logprob, std::log(0.3), 1e-5);
  // It goes on with 40, where 41 would have been of probability 0.63: 0.3 x 0.63 = 0.19.
  branches.add(std::vector<engine::Token>{11, 40},
               std::vector<Choice>{{log_of(0.37), {{41, log_of(0.63)}}}}, first, 1);
  EXPECT_THAT(branches.next(2)->tokens, ElementsAre(12));
  const auto third = branches.next(3);
  EXPECT_THAT(third->tokens, ElementsAre(11, 41));
  EXPECT_THAT(third->parts, ElementsAre(DrawnPart{0, 0}, DrawnPart{0, 1}, DrawnPart{1, 3}));
  EXPECT_THAT(branches.next(4)->tokens, ElementsAre(10, 20, 31));
  const auto last = branches.next(5);
  EXPECT_THAT(last->tokens, ElementsAre(10, 21));
  EXPECT_THAT(last->parts, ElementsAre(DrawnPart{0, 0}, DrawnPart{1, 5}));
  EXPECT_FALSE(branches.next(6));
}

TEST(Branches, PartsEndWhereAnotherBegins) {
  const std::vector<DrawnPart> parts{{0, 0}, {0, 1}, {4, 2}, {9, 3}};
  EXPECT_THAT(up_to(parts, 9), ElementsAre(DrawnPart{0, 0}, DrawnPart{0, 1}, DrawnPart{4, 2}));
  EXPECT_THAT(up_to(parts, 0), ElementsAre(DrawnPart{0, 0}));
  EXPECT_TRUE(up_to({}, 3).empty());
}

}  // namespace
}  // namespace lares::daemon
