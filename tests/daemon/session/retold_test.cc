#include "daemon/session/retold.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "daemon/protocol/wire.h"
#include "daemon/session/export.h"
#include "daemon/turn/prompt.h"
#include "tests/daemon/scripted/scripted_engine.h"
#include "tests/temporary_directory.h"

namespace lares::daemon {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RetoldTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = Journal::create(directory_ / "j");
    ASSERT_TRUE(made);
    journal_.emplace(std::move(*made));
  }

  void completed(std::int64_t turn_id, const char* kind, const std::string& text) {
    protocol::ItemCompleted fact;
    fact.at = {.session_id = "s", .seq = static_cast<std::int64_t>(journal_->size()) + 1, .t = 1};
    fact.item = {.id = "1.1", .turn_id = turn_id, .kind = kind, .text = text};
    protocol::Json frame;
    frame["method"] = protocol::ItemCompleted::kNotification;
    frame["params"] = protocol::to_json(fact);
    ASSERT_TRUE(journal_->append(protocol::dump(frame)));
  }
  std::string told(std::set<std::int64_t> turns, std::size_t bytes_max = kRetoldBytesMax) const {
    return retold({.journal = journal_->path(),
                   .journal_bytes = journal_->bytes(),
                   .turns = std::move(turns),
                   .words = {},
                   .bytes_max = bytes_max});
  }

  const TemporaryDirectory directory_;
  std::optional<Journal> journal_;
};

TEST_F(RetoldTest, WhatWasSaidInTheTurnsThatAreLeft) {
  completed(1, "user", "One?");
  completed(1, "think", "Hm.");
  completed(1, "text", "One.");
  completed(2, "user", "Taken back.");
  completed(3, "user", "Three?");
  EXPECT_THAT(told({1, 3}),
              HasSubstr(":\n\n<user>\nOne?\n</user>\n<assistant>\nOne.\n</assistant>\n"
                        "<user>\nThree?\n</user>\n\n"));
  EXPECT_EQ(told({}), "");
}

TEST_F(RetoldTest, OfMuchTheNewest) {
  for (int i = 0; i < 100; ++i) completed(1, "text", "answer " + std::to_string(i));
  completed(1, "user", std::string(10'000, 'x'));
  const std::string some = told({1}, 1'000);
  EXPECT_LT(some.size(), 1'500u);
  EXPECT_THAT(some, HasSubstr("\n\n[what was said before is left out]\n<assistant>\n"));
  EXPECT_THAT(some, HasSubstr("answer 99\n"));
  EXPECT_THAT(some, Not(HasSubstr("answer 9\n")));
  EXPECT_THAT(some, HasSubstr("x\n[the rest is left out]\n</user>\n\n"));
}

TEST(WordsOf, AreKnownToTheModelThatTheyWereWrittenForWhileItsContextHoldsThem) {
  const ScriptedEngine one(std::deque<Play>{});
  ScriptedEngine other(std::deque<Play>{});
  other.use_another_vocabulary();
  const std::string ones = vocabulary_of(one), others = vocabulary_of(other);
  EXPECT_NE(ones, others);
  Transcript words{one.tokenizer().encode(prompt_head() + "Go.", /*added=*/true), {}, ones};
  Transcript untold{words.ids, {}, ""};  // as earlier versions wrote them
  for (const auto& transcript : {words, untold}) {
    EXPECT_EQ(words_of(transcript, one, ones), Words::known);
    EXPECT_EQ(words_of(transcript, other, others), Words::foreign);
    EXPECT_EQ(words_of(transcript, ScriptedEngine(std::deque<Play>{}, 1'000), ones),
              Words::too_many);
  }
  words.ids.push_back(one.info().vocab_size);
  EXPECT_EQ(words_of(words, one, ones), Words::foreign);
}

TEST(WordsOf, WhatWasWrittenDownIsTrueWhateverTheHeadSays) {
  const ScriptedEngine one(std::deque<Play>{});
  const std::string ones = vocabulary_of(one);
  const auto ours = one.tokenizer().encode(prompt_head() + "Go.", /*added=*/true);
  const auto another_version = one.tokenizer().encode("You are one who helps. Go.", /*added=*/true);
  EXPECT_EQ(words_of({another_version, {}, ones}, one, ones), Words::known);
  EXPECT_EQ(words_of({another_version, {}, ""}, one, ones), Words::foreign);
  EXPECT_EQ(words_of({ours, {}, "another"}, one, ones), Words::foreign);
}

}  // namespace
}  // namespace lares::daemon
