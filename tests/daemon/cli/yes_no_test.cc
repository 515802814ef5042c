#include "daemon/cli/yes_no.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/cli/approval.h"
#include "tools/text.h"

namespace lares::cli {
namespace {

namespace protocol = daemon::protocol;

protocol::Item call_like(std::vector<std::string> likes) {
  protocol::Item item;
  item.id = "i1";
  item.likes = std::move(likes);
  return item;
}

TEST(YesNo, EitherCaseAndBlanksAroundSayTheSame) {
  for (const char* line : {"y", "Y", "yes", "Yes", "YES", " y ", "\tyEs\r\n"}) {
    EXPECT_TRUE(is_yes(line)) << line;
    EXPECT_FALSE(is_no(line)) << line;
  }
  for (const char* line : {"n", "N", "no", "No", "NO", " n\n"}) {
    EXPECT_TRUE(is_no(line)) << line;
    EXPECT_FALSE(is_yes(line)) << line;
  }
  for (const char* line : {"", " ", "ye", "yess", "y es", "nope", "yes please", "ÿ"}) {
    EXPECT_FALSE(is_yes(line)) << line;
    EXPECT_FALSE(is_no(line)) << line;
  }
}

TEST(Approval, AYesInCapitalsAllows) {
  const auto item = call_like({"npm test *"});
  bool doubted = false;
  for (const char* line : {"y", "Y", "yes", "Yes", " YES "}) {
    const auto reply = approval_of(line, item, doubted);
    ASSERT_TRUE(reply) << line;
    EXPECT_EQ(reply->decision, "allow") << line;
    EXPECT_EQ(reply->scope, "once") << line;
  }
  for (const char* line : {"s", "S"})
    EXPECT_EQ(approval_of(line, item, doubted)->scope, "session") << line;
  for (const char* line : {"a", "A"})
    EXPECT_EQ(approval_of(line, item, doubted)->scope, "user") << line;
}

TEST(Approval, ALetterThatWasNotOfferedIsNoAnswer) {
  const auto item = call_like({});
  bool doubted = false;
  for (const char* line : {"t", "s", "r", "a", "A", " s ", ""})
    EXPECT_FALSE(approval_of(line, item, doubted)) << line;
  EXPECT_EQ(approval_of("Y", item, doubted)->decision, "allow");
}

TEST(Approval, WhatIsNoChoiceRefusesAndTellsTheModel) {
  const auto item = call_like({});
  bool doubted = false;
  for (const char* line : {"n", "N", "No", "NO"}) {
    const auto reply = approval_of(line, item, doubted);
    EXPECT_EQ(reply->decision, "deny") << line;
    EXPECT_EQ(reply->message, "") << line;
  }
  const auto reply = approval_of(" stash it first\n", item, doubted);
  EXPECT_EQ(reply->decision, "deny");
  EXPECT_EQ(reply->message, "stash it first");
}

TEST(Approval, WhatBeginsAsAYesIsAskedAboutOnceAndNeverRuns) {
  const auto item = call_like({"npm test *"});
  for (const char* line : {"ok", "OK", "sure", "yes please", "yes, do it", "y!", "allow", "1",
                           "do it", "Okay, but stash it first", " go "}) {
    bool doubted = false;
    EXPECT_FALSE(approval_of(line, item, doubted)) << line;
    EXPECT_THAT(not_offered(line, item), testing::HasSubstr("y runs it, n does not")) << line;
    const auto reply = approval_of(line, item, doubted);
    ASSERT_TRUE(reply) << line;
    EXPECT_EQ(reply->decision, "deny") << line;
    EXPECT_EQ(reply->message, tools::trimmed(line));
  }
  bool doubted = false;
  approval_of("ok", item, doubted);
  EXPECT_EQ(approval_of("y", item, doubted)->decision, "allow");
  for (const char* line : {"okra", "gone", "yesterday's way", "12", "n, ok", "no", "stash, ok?"}) {
    doubted = false;
    EXPECT_EQ(approval_of(line, item, doubted)->decision, "deny") << line;
    EXPECT_FALSE(doubted) << line;
  }
}

}  // namespace
}  // namespace lares::cli
