// The agent loop where the context is full, nearly so, or said to be long: what is summed up, cut
// and refused.
#include "daemon/turn/answer.h"
#include "daemon/turn/turn.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "daemon/turn/prompt.h"
#include "daemon/turn/repetition.h"
#include "daemon/turn/shorten.h"
#include "tests/daemon/turn/turn_case.h"

namespace lares::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kBegunAnew =
    "the transcript is begun anew, on a new timeline, and nothing here shares the repository's "
    "tokens";

TEST_F(TurnTest, AFullContextEndsTheTurn) {
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 2000;
  std::string text;
  for (int i = 0; text.size() < 4000; ++i) text += "line " + std::to_string(i) + "\n";
  const auto result = turn({{text}});
  EXPECT_EQ(result.reason, "context_full");
  EXPECT_LE(static_cast<std::int64_t>(transcript_.ids.size()), n_context_);
}

TEST_F(TurnTest, APromptThatCanNeverBeReadIsRefusedWithItsSizeAndNothingIsKeptOfIt) {
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 2000;
  const std::string text(2500, 'x');
  const auto first = turn({}, {}, text);
  EXPECT_EQ(first.reason, "error");
  EXPECT_THAT(first.message, HasSubstr("read the prompt: "));
  EXPECT_THAT(first.message, HasSubstr(fmt::format("the context has {}; say less", n_context_)));
  EXPECT_TRUE(transcript_.ids.empty());
  EXPECT_EQ(turn({{"hm</think>Done."}}).reason, "end_turn");
  const auto ids = transcript_.ids;
  EXPECT_EQ(turn({}, {}, std::string(static_cast<std::size_t>(n_context_), 'x')).reason, "error");
  EXPECT_EQ(transcript_.ids, ids);
  EXPECT_EQ(turn({{"hm</think>Still here."}}, {}, "And now?").reason, "end_turn");
}

// In the middle of its work: the summary is the model's own, without tools, and the repository
// stays.
TEST_F(TurnTest, ACrowdedContextIsSummedUpAndTheWorkGoesOn) {
  evaluates_again_ = kBegunAnew;
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  ASSERT_LT(prompt_head().size(), 12'000u);
  std::string text;
  for (std::size_t i = 0; text.size() + 8 * i < 13'400; ++i)
    text += fmt::format("line {}\n", i);  // with line numbers before it
  write("long.txt", text);
  const std::string view =
      "x</think>" +
      scripted_calls({scripted_call("str_replace_editor",
                                    {{"command", "view"}, {"path", root_ + "/long.txt"}})});
  const auto result =
      turn({{view}, {"hm</think>Read long.txt; it has lines."}, {"y</think>Done."}});
  EXPECT_EQ(result.reason, "end_turn");
  ASSERT_EQ(prompts_.size(), 3u);
  EXPECT_THAT(prompts_[1], HasSubstr("</tool_result>\n\nYour context is nearly full."));
  EXPECT_TRUE(prompts_[2].starts_with(prompt_head() + "<｜User｜>The repository is at "));
  EXPECT_THAT(prompts_[2], HasSubstr("<user>\nFirst.\n</user>\n"));
  EXPECT_THAT(prompts_[2], HasSubstr("<summary>\nRead long.txt; it has lines."));
  EXPECT_THAT(prompts_[2],
              HasSubstr("</summary>\n\nGo on with the next step.<｜Assistant｜><think>"));
  EXPECT_THAT(prompts_[2], Not(HasSubstr("line 700")));
  ASSERT_EQ(heard_.before.size(), 1u);
  EXPECT_GT(heard_.before[0].ids.size(), transcript_.ids.size());
}

// A new task finds it so: it comes behind the summary.
TEST_F(TurnTest, ANewTaskInACrowdedContextComesBehindTheSummary) {
  evaluates_again_ = kBegunAnew;
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  std::string text;
  for (int i = 0; text.size() < 15'000; ++i) text += fmt::format("line {}\n", i);
  turn({{"x</think>" + text.substr(0, 13'500)}});
  turn({{"x</think>It was lines."}, {"x</think>Four."}}, {}, "And two and two?");
  ASSERT_EQ(prompts_.size(), 2u);
  EXPECT_THAT(prompts_[1],
              HasSubstr("It was lines.\n</summary>\n\nAnd two and two?<｜Assistant｜>"));
  EXPECT_EQ(heard_.of("text").back().text, "Four.");
}

// What the user asks for is a turn of its own, and nothing is answered behind it.
TEST_F(TurnTest, AConversationIsSummedUpWhenTheUserAsksForIt) {
  evaluates_again_ = kBegunAnew;
  can_shorten_ = true;
  std::string text;
  for (int i = 0; text.size() < 9'000; ++i) text += fmt::format("line {}\n", i);
  turn({{"x</think>" + text}});
  const auto before = static_cast<std::int64_t>(transcript_.ids.size());
  const auto result = turn({{"hm</think>I said lines."}}, {}, "/compact  keep the number 7\n");
  EXPECT_EQ(result.reason, "end_turn");
  ASSERT_EQ(prompts_.size(), 1u);
  EXPECT_THAT(prompts_[0], HasSubstr("<｜User｜>The user asks for a shorter conversation. "));
  EXPECT_THAT(prompts_[0], HasSubstr("\n\nThe user says of it: keep the number 7<｜Assistant｜>"));
  EXPECT_THAT(prompts_[0], Not(HasSubstr("Your context is nearly full.")));
  ASSERT_EQ(heard_.before.size(), 1u);
  const auto after = static_cast<std::int64_t>(transcript_.ids.size());
  EXPECT_LT(after, before - 8'000);
  EXPECT_EQ(result.usage.context, after);
  EXPECT_EQ(heard_.of("note").back().text, fmt::format("{} tokens are left of {}", after, before));
  EXPECT_EQ(turn({{"x</think>Four."}}, {}, "Two and two?").reason, "end_turn");
  EXPECT_THAT(
      prompts_[0],
      HasSubstr("I said lines.\n</summary>\n\nThere is nothing to do yet: the user goes on "
                "with what follows.<｜Assistant｜><think></think><｜end▁of▁sentence｜><｜User｜>"
                "Two and two?<｜Assistant｜>"));
}

TEST_F(TurnTest, AConversationWhoseSummaryIsNoneOrLongerStaysAsItIs) {
  can_shorten_ = true;
  turn({{"x</think>Hello."}});
  const auto failed = turn({{"x</think>"}, {"x</think>"}, {"x</think>"}}, {}, "/compact");
  EXPECT_EQ(failed.reason, "error");
  EXPECT_THAT(failed.message, HasSubstr("no summary came that is shorter; it stays as it is"));
  EXPECT_EQ(turn({{"x</think>" + std::string(4'000, 'x')}}, {}, "/compact").reason, "error");
  EXPECT_TRUE(heard_.before.empty());
  EXPECT_EQ(turn({{"x</think>Four."}}, {}, "Two and two?").reason, "end_turn");
  EXPECT_THAT(prompts_[0], HasSubstr("Hello."));
}

// Shorter than the conversation with the summary behind it is no shorter conversation.
TEST_F(TurnTest, AShortConversationIsNoShorterForItsSummary) {
  evaluates_again_ = kBegunAnew;
  can_shorten_ = true;
  turn({{"x</think>Hello."}});
  const auto before = transcript_.ids.size();
  const std::string summary = "Hello was said, and nothing else of note.";
  const auto result = turn({{"hm</think>" + summary}}, {}, "/compact");
  EXPECT_EQ(result.reason, "error");
  EXPECT_THAT(result.message, HasSubstr("no summary came that is shorter; it stays as it is"));
  EXPECT_TRUE(heard_.before.empty());
  EXPECT_GT(transcript_.ids.size(), before);
  for (const auto& note : heard_.of("note")) EXPECT_THAT(note.text, Not(HasSubstr("are left of")));
}

TEST(Shorten, APromptThatAsksForASummaryBeginsWithItsName) {
  for (const char* const prompt : {"/compact", "/compact ", "/compact keep x", "/compact\nkeep x"})
    EXPECT_TRUE(asks_for_summary(prompt)) << prompt;
  for (const char* const prompt :
       {"", "compact", " /compact", "/compacts", "/compact-it", "/Compact"})
    EXPECT_FALSE(asks_for_summary(prompt)) << prompt;
}

TEST_F(TurnTest, WithoutASummaryTheContextJustFills) {
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  std::string text;
  for (int i = 0; text.size() < 15'000; ++i) text += fmt::format("line {}\n", i);
  turn({{"x</think>" + text.substr(0, 13'500)}});
  turn({{"x</think>"}, {"x</think>"}, {"x</think>"}, {"x</think>Four."}}, {}, "And two and two?");
  EXPECT_TRUE(heard_.before.empty());
  EXPECT_THAT(prompts_.back(), HasSubstr("And two and two?\n\nYour context is nearly full."));
  EXPECT_THAT(prompts_.back(), HasSubstr("<｜User｜>Now do what was asked last.<｜Assistant｜>"));
  EXPECT_EQ(heard_.of("text").back().text, "Four.");
}

// What is said leaves no room for a summary before it: it is read as it is.
TEST_F(TurnTest, ALongTaskThatJustFitsIsRead) {
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  turn({{"x</think>Hello."}});
  const std::string task = std::string(15'000, 'x') + " two and two?";
  const auto ids = transcript_.ids;
  EXPECT_EQ(turn({}, {}, task + std::string(1'000, 'x')).reason, "error");
  EXPECT_EQ(transcript_.ids, ids);  // that one does not
  EXPECT_EQ(turn({{"x</think>Four."}}, {}, task).reason, "end_turn");
  EXPECT_THAT(prompts_.back(), HasSubstr(task));
  EXPECT_THAT(prompts_.back(), Not(HasSubstr("Your context is nearly full.")));
  EXPECT_TRUE(heard_.of("note").empty());
  EXPECT_EQ(heard_.of("text").back().text, "Four.");
}

// However many prompts in a row have none.
TEST_F(TurnTest, NewsThatAPromptHadNoRoomForAreUnreadUntilOneHas) {
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  std::string text;
  for (int i = 0; text.size() < 3'000; ++i) text += fmt::format("line {}\n", i);
  turn({{"x</think>" + text}});
  unread_news_ = {"[background job 7 ended]"};
  for (const std::size_t n : {15'990, 15'991, 30'000}) {  // the last not even alone
    heard_.left = {};
    EXPECT_EQ(turn({}, {}, std::string(n, 'x')).reason, "error");
    EXPECT_THAT(heard_.left.news, ElementsAre("[background job 7 ended]"));
    EXPECT_FALSE(heard_.left.changes);
    unread_news_ = heard_.left.news;
  }
  heard_.left = {};
  EXPECT_EQ(turn({{"x</think>Four."}}, {}, "Two and two?").reason, "end_turn");
  EXPECT_THAT(prompts_.back(), HasSubstr("[background job 7 ended]\n\nTwo and two?"));
  EXPECT_TRUE(heard_.left.empty());
  EXPECT_THAT(heard_.of("note"), ElementsAre());  // people were told then
}

TEST_F(TurnTest, NewsThatATurnDidNotComeToTellAreUnread) {
  turn({{"x</think>Hello."}});
  throws_ = "no memory";
  changes_ = []() -> asio::awaitable<std::string> {
    throw std::runtime_error("no memory");
    co_return "";
  };
  unread_news_ = {"[background job 7 ended]"};
  turn({}, {}, "And now?");
  EXPECT_THAT(heard_.left.news, ElementsAre("[background job 7 ended]"));
}

// An answer may be longer than the room that is kept: its end goes, and the turn goes on.
TEST_F(TurnTest, AContextThatIsFullIsSummedUpWithoutItsEnd) {
  evaluates_again_ = kBegunAnew;
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  std::string text;
  for (int i = 0; text.size() < 20'000; ++i) text += fmt::format("line {}\n", i);
  EXPECT_EQ(turn({{"x</think>" + text}, {"x</think>I said lines."}, {"x</think>Done."}}).reason,
            "end_turn");
  EXPECT_THAT(prompts_.back(), HasSubstr("I said lines.\n</summary>\n\nGo on with the next step."));
  EXPECT_EQ(heard_.before.size(), 2u);
  EXPECT_EQ(heard_.of("text").back().text, "Done.");
}

TEST_F(TurnTest, ACallThatTheContextHasNoRoomForIsNotMade) {
  evaluates_again_ = kBegunAnew;
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  const std::string path = root_ + "/long.txt";
  std::string text;
  for (int i = 0; text.size() < 20'000; ++i) text += fmt::format("line {}\n", i);
  const auto result = turn({{"x</think>Long." + create(path, text)}, {"x</think>Too long."}});
  EXPECT_EQ(result.reason, "end_turn");
  EXPECT_FALSE(fs::exists(path));
  ASSERT_EQ(heard_.of("tool").size(), 1u);
  EXPECT_EQ(heard_.of("tool")[0].state, "rejected");
  EXPECT_THAT(heard_.of("tool")[0].output, HasSubstr("it was cut off"));
  EXPECT_THAT(heard_.of("note").back().text, HasSubstr("the answer filled the context"));
  EXPECT_THAT(prompts_.back(),
              HasSubstr("<think>x</think>Long.<｜end▁of▁sentence｜><｜User｜>Go on"));
}

// Whatever the model says, it comes to an end; the next turn finds a session that goes on.
TEST_F(TurnTest, AnswersThatAreLongerThanTheContextAgainAndAgainEndTheTurn) {
  evaluates_again_ = kBegunAnew;
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  std::string text;
  for (int i = 0; text.size() < 20'000; ++i) text += fmt::format("line {}\n", i);
  const auto result = turn({{"x</think>" + text},
                            {"x</think>Lines."},
                            {"x</think>" + text},
                            {"x</think>Lines."},
                            {"x</think>" + text}});
  EXPECT_EQ(result.reason, "context_full");
  EXPECT_THAT(result.message, HasSubstr("`go on` continues"));
  EXPECT_EQ(turn({{"x</think>It was lines."}, {"x</think>Four."}}, {}, "And two and two?").reason,
            "end_turn");
  EXPECT_EQ(heard_.of("text").back().text, "Four.");
}

// Else the session could never go on: each prompt would bring them again.
TEST_F(TurnTest, ResultsThatTheContextCannotHoldAreCut) {
  evaluates_again_ = kBegunAnew;
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  std::string text;
  for (int i = 0; text.size() < 9'000; ++i) text += fmt::format("line {}\n", i);
  std::vector<std::string> views;
  for (const char* name : {"a.txt", "b.txt", "c.txt"}) {
    write(name, text);
    views.push_back(
        scripted_call("str_replace_editor", {{"command", "view"}, {"path", root_ + "/" + name}}));
  }
  const auto result =
      turn({{"x</think>" + scripted_calls(views)}, {"x</think>Three files."}, {"x</think>Done."}});
  EXPECT_EQ(result.reason, "end_turn");
  EXPECT_THAT(prompts_[1], HasSubstr("line 0\n"));
  EXPECT_THAT(prompts_[1], HasSubstr(" bytes are left out: the context has no room for them]\n"));
  EXPECT_EQ(heard_.of("tool").size(), 3u);
}

TEST_F(TurnTest, ASummaryIsBounded) {
  evaluates_again_ = kBegunAnew;
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  std::string text;
  for (int i = 0; text.size() < 20'000; ++i) text += fmt::format("line {}\n", i);
  turn({{"x</think>" + text.substr(0, 13'500)}});
  turn({{"x</think>" + text}, {"x</think>Four."}}, {}, "And two and two?");
  EXPECT_EQ(heard_.before.size(), 1u);
  EXPECT_LT(static_cast<std::int64_t>(transcript_.ids.size()), n_context_ / 2);
  ASSERT_EQ(heard_.how.size(), 1u);  // whoever samples it once more must know
  EXPECT_TRUE(heard_.how[0].without_tools);
  EXPECT_EQ(heard_.how[0].think_tokens_max, summary_tokens_max(n_context_) / kSummaryThinkShare);
}

TEST(Shorten, OnlyALongConversationInLittleRoom) {
  EXPECT_FALSE(is_crowded(1'000, 500, 1'048'576));
  EXPECT_FALSE(is_crowded(1'040'000, 900'000, 1'048'576));  // it is the repository that fills it
  EXPECT_TRUE(is_crowded(990'000, 260'000, 1'048'576));
  EXPECT_FALSE(is_crowded(980'000, 260'000, 1'048'576));
  EXPECT_TRUE(is_crowded(7'500, 3'000, 8'192));
  EXPECT_FALSE(is_crowded(7'000, 3'000, 8'192));
}

TEST(Shorten, TheUsersWordsAreKeptAsFarAsTheyFit) {
  EXPECT_THAT(anew("S", {"one", "two"}, "three"),
              HasSubstr("<user>\none\n</user>\n<user>\ntwo\n</user>\n\nWhat you wrote down"));
  const auto many = anew("S", {std::string(kUserWordsBytesMax, 'x'), "two"}, "");
  EXPECT_THAT(many, HasSubstr("xxx\n[3 more bytes are left out]\n</user>\n<user>\ntwo\n</user>"));
  const auto more = anew("S", {"first", std::string(kUserWordsBytesMax, 'x')}, "");
  EXPECT_THAT(more, HasSubstr("The last 1 of the 2 things"));
  EXPECT_THAT(more, Not(HasSubstr("first")));
}

TEST(Shorten, WordsTakeAPartOfAShortContextOnly) {
  EXPECT_EQ(user_words_bytes_max(1 << 20), kUserWordsBytesMax);
  EXPECT_EQ(user_words_bytes_max(32'768), 8'192u);
  EXPECT_THAT(anew("S", {std::string(100, 'x')}, "", 40),
              HasSubstr("[60 more bytes are left out]"));
}

TEST(Shorten, ResultsAreCutInTheirMiddleBetweenCharacters) {
  std::vector<std::string> results{
      "short", std::string(9, 'a') + "ä" + std::string(70, 'b') + std::string(9, 'z')};
  EXPECT_FALSE(clip(results, 1'000));
  EXPECT_TRUE(clip(results, 40));
  EXPECT_EQ(results[0], "short");
  EXPECT_EQ(results[1], std::string(9, 'a') +
                            "\n[71 bytes are left out: the context has no room for them]\nb" +
                            std::string(9, 'z'));
}

// Of the request for a summary nothing is left to be answered.
TEST_F(TurnTest, AnInterruptOfASummaryAsksForNothingMore) {
  evaluates_again_ = kBegunAnew;
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  std::string text;
  for (int i = 0; text.size() < 13'500; ++i) text += fmt::format("line {}\n", i);
  turn({{"x</think>" + text}});
  const auto result = turn({{.text = "x</think>It was lines.",
                             .before_token =
                                 [&](std::int64_t at) {
                                   if (at == 12) stop_.engine.request_stop();
                                 }}},
                           {}, "And two and two?");
  EXPECT_EQ(result.reason, "cancelled");
  EXPECT_TRUE(heard_.before.empty());
  stop_.engine = {};
  turn({{"x</think>It was lines."}, {"x</think>Four."}}, {}, "And now?");
  EXPECT_THAT(prompts_.front(), HasSubstr("It was line<｜end▁of▁sentence｜><｜User｜>And now?"));
  EXPECT_EQ(heard_.of("text").back().text, "Four.");
}

}  // namespace
}  // namespace lares::daemon
