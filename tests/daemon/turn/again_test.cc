// Answers that are drawn again, calls that are made again, and work that is sent back.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "daemon/protocol/redrawn.h"
#include "daemon/turn/answer.h"
#include "daemon/turn/repetition.h"
#include "tests/daemon/turn/turn_case.h"

namespace lares::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kGoneBack =
    "an answer departs from one before the last: its tokens are no longer the timeline's";

TEST_F(TurnTest, AnEndlessAnswerIsDrawnAgainAndStopped) {
  std::deque<Play> plays;  // each is drawn again from before its circle, and then from its
                           // beginning
  for (int i = 0; i < 2 * (kResamplesMax + 1); ++i)
    plays.push_back({.text = fmt::format("for ever and {} days, ", i), .open_ended = true});
  const auto result = turn(std::move(plays));
  EXPECT_EQ(result.reason, "repetition");
  EXPECT_LT(heard_.recorded.size(), prompt_head().size() + 2000);
  EXPECT_EQ(heard_.of("note").size(), static_cast<std::size_t>(2 * kResamplesMax + 1));
  EXPECT_EQ(script_left_, 0u);
}

// Not from its beginning: what was thought before the circle is kept, in the caches too, and
// another token comes first.
TEST_F(TurnTest, AnAnswerInCirclesIsDrawnAgainFromBeforeThem) {
  std::string thought;
  for (int i = 0; i < 40; ++i) thought += fmt::format("thought {}. ", i * i);
  const std::string circle = "again and again, ";
  std::string said = thought;
  for (int i = 0; i < 100; ++i) said += circle;
  const auto result = turn({{said}, {"Enough.</think>Done."}});
  EXPECT_EQ(result.reason, "end_turn");
  EXPECT_THAT(heard_.of("note")[0].text, HasSubstr("repeat themselves"));
  ASSERT_EQ(prompts_.size(), 2u);
  ASSERT_TRUE(prompts_[1].starts_with(prompts_[0]));
  const std::string kept = prompts_[1].substr(prompts_[0].size());
  EXPECT_TRUE(thought.starts_with(kept) || kept.starts_with(thought.substr(0, thought.size() - 2)));
  EXPECT_NEAR(static_cast<double>(kept.size()), static_cast<double>(thought.size()), 24);
  EXPECT_THAT(heard_.recorded, ::testing::SizeIs(prompts_[1].size() - prompts_[0].size() +
                                                 heard_.recorded.size() - kept.size()));
  EXPECT_EQ(heard_.of("think").back().text, "Enough.");
  EXPECT_EQ(heard_.of("text").back().text, "Done.");
  ASSERT_EQ(heard_.how.size(), 1u);  // whoever samples it once more must know
  EXPECT_EQ(heard_.how[0].n_kept, static_cast<std::int64_t>(kept.size()));
  EXPECT_TRUE(heard_.how[0].avoid);
  EXPECT_FALSE(heard_.how[0].without_tools);
  const std::string note = heard_.of("note")[0].text;
  const std::int64_t n_dropped = std::stoll(note.substr(note.find_first_of("0123456789")));
  EXPECT_EQ(result.usage.generated,
            n_dropped + static_cast<std::int64_t>(kept.size()) +
                static_cast<std::int64_t>(std::string_view("Enough.Done.").size()) + 2);
}

// Both parts of it are the summary: what was said before the circle, and what was behind it.
TEST_F(TurnTest, ASummaryThatWentInCirclesIsWhole) {
  evaluates_again_ = "the transcript is begun anew, on a new timeline";
  can_shorten_ = true;
  n_context_ = static_cast<std::int64_t>(prompt_head().size()) + 16'000;
  std::string text, circle;
  for (int i = 0; text.size() < 13'500; ++i) text += fmt::format("line {}\n", i);
  for (int i = 0; i < 100; ++i) circle += "again and again, ";
  turn({{"x</think>" + text}});
  turn({{"x</think>The user wants sums. " + circle}, {"And the next is four."}, {"x</think>Four."}},
       {}, "And two and two?");
  ASSERT_EQ(prompts_.size(), 3u);
  EXPECT_THAT(prompts_.back(),
              HasSubstr("<summary>\nThe user wants sums.And the next is four.\n</summary>"));
  EXPECT_EQ(heard_.before.size(), 1u);
}

// What was said before its circle is an answer, though nothing comes behind it.
TEST_F(TurnTest, AnAnswerThatEndsBeforeItsCircleIsKept) {
  std::string circle;
  for (int i = 0; i < 100; ++i) circle += "again and again, ";
  const auto result = turn({{"x</think>The answer is 4. " + circle}, {""}});
  EXPECT_EQ(result.reason, "end_turn");
  EXPECT_EQ(prompts_.size(), 2u);
  EXPECT_TRUE(prompts_[1].starts_with(prompts_[0] + "x</think>The answer is 4.")) << prompts_[1];
}

// The first token of the circle, had it been drawn again, is forbidden once.
TEST_F(TurnTest, ACircleDoesNotBeginAgainAtTheSamePlace) {
  const std::string circle = "abcdefgh";
  std::string said;
  for (int i = 0; i < 100; ++i) said += circle;
  turn({{"1234" + said}, {circle + "</think>Done."}});
  EXPECT_EQ(n_masked_, 1);
}

TEST_F(TurnTest, AFileMayRepeatItself) {
  std::string grid;
  for (int i = 0; i < 400; ++i) grid += "0, ";
  const auto result =
      turn({{"x</think>I write." + create(root_ + "/grid.txt", grid)}, {"x</think>Done."}});
  EXPECT_EQ(result.reason, "end_turn");
  EXPECT_EQ(read("grid.txt"), grid);
}

// Half a call is none: the calls are written anew.
TEST_F(TurnTest, ACircleInACallTakesTheCallsBack) {
  std::string circle;
  for (int i = 0; i < 200; ++i) circle += "again and again, ";
  const std::string half = "x</think>I write." + create(root_ + "/a.txt", circle);
  const auto result = turn({{half.substr(0, half.find("</｜DSML｜parameter>\n</"))},
                            {create(root_ + "/b.txt", "short")},
                            {"x</think>Done."}});
  EXPECT_EQ(result.reason, "end_turn");
  EXPECT_FALSE(fs::exists(root_ + "/a.txt"));
  EXPECT_EQ(read("b.txt"), "short");
  ASSERT_EQ(heard_.of("tool").size(), 2u);
  EXPECT_EQ(heard_.of("tool")[0].state, "rejected");
  EXPECT_EQ(heard_.of("tool")[1].state, "done");
  EXPECT_TRUE(prompts_[1].ends_with("<think>x</think>I write."));
}

// Nor does one run that was written whole before the circle began.
TEST_F(TurnTest, ACircleBehindAWholeCallTakesThatBackToo) {
  std::string circle;
  for (int i = 0; i < 200; ++i) circle += "again and again, ";
  const auto write_file = [&](const char* name, const std::string& text) {
    return scripted_call(
        "str_replace_editor",
        {{"command", "create"}, {"path", root_ + "/" + name}, {"file_text", text}});
  };
  const std::string both = "x</think>I write." +
                           scripted_calls({write_file("a.txt", "a"), write_file("b.txt", circle)});
  const auto result = turn({{both.substr(0, both.rfind("</｜DSML｜parameter>\n</"))},
                            {create(root_ + "/c.txt", "c")},
                            {"x</think>Done."}});
  EXPECT_EQ(result.reason, "end_turn");
  EXPECT_FALSE(fs::exists(root_ + "/a.txt"));
  EXPECT_FALSE(fs::exists(root_ + "/b.txt"));
  EXPECT_EQ(read("c.txt"), "c");
  ASSERT_EQ(heard_.of("tool").size(), 3u);
  EXPECT_EQ(heard_.of("tool")[0].state, "rejected");
  EXPECT_EQ(heard_.of("tool")[1].state, "rejected");
  EXPECT_EQ(heard_.of("tool")[2].state, "done");
}

TEST_F(TurnTest, TheSameCallAgainAndAgainIsStopped) {
  write("a.txt", "a\n");
  const std::string view =
      "x</think>" + scripted_calls({scripted_call(
                        "str_replace_editor", {{"command", "view"}, {"path", root_ + "/a.txt"}})});
  std::deque<Play> plays;
  for (int i = 0; i < kCallsStop; ++i) plays.push_back({view});
  plays.push_back({"x</think>The file says a."});  // it may still say what it knows
  const auto result = turn(plays);
  EXPECT_EQ(result.reason, "repetition");
  EXPECT_EQ(heard_.of("tool").size(), static_cast<std::size_t>(kCallsStop));
  EXPECT_EQ(heard_.of("note").size(), 4u);  // reminders
  EXPECT_EQ(heard_.of("text").back().text, "The file says a.");
  EXPECT_THAT(prompts_.back(), HasSubstr("no more calls"));
  ASSERT_EQ(heard_.how.size(), 1u);  // the last
  EXPECT_TRUE(heard_.how[0].without_tools);
  EXPECT_FALSE(heard_.how[0].think_tokens_max);
}

// Of each step: what those before it took does not count.
TEST_F(TurnTest, AnEmptyAnswerIsDrawnAgainTwice) {
  const Play empty{"x</think>"};
  turn({empty,
        empty,
        {"x</think>" + create(root_ + "/a.txt", "a")},  //
        empty,
        empty,
        {"x</think>Done."}});
  EXPECT_EQ(heard_.of("text").back().text, "Done.");
  EXPECT_EQ(prompts_.size(), 6u);
  EXPECT_EQ(turn({empty, empty, empty}, {}, "Again.").reason, "end_turn");
  EXPECT_EQ(prompts_.size(), 3u);
}

TEST_F(TurnTest, AnEmptyAnswerIsDrawnAgain) {
  const auto result = turn({{"Nothing to say.</think>"}, {"Better.</think>Here."}});
  EXPECT_EQ(result.reason, "end_turn");
  EXPECT_EQ(heard_.of("text").back().text, "Here.");
  EXPECT_EQ(prompts_[0], prompts_[1]);  // the empty answer is not in the transcript
}

std::size_t engine_tokens(const std::string& text) {
  const ScriptedEngine engine(std::deque<Play>{});
  std::vector<engine::Token> ids;
  engine.tokenizer().encode(text, /*added=*/true, ids);
  return ids.size();
}

// Answers that call the edit tool, and nothing else.
std::string edit(const std::string& path, const std::string& from, const std::string& to) {
  return "x</think>" +
         scripted_calls({scripted_call(
             "str_replace_editor",
             {{"command", "str_replace"}, {"path", path}, {"old_str", from}, {"new_str", to}})});
}
std::string insert(const std::string& path, int line, const std::string& text) {
  std::string call = scripted_call("str_replace_editor", {{"command", "insert"},
                                                          {"path", path},
                                                          {"insert_line", std::to_string(line)},
                                                          {"new_str", text}});
  const std::string_view is_text = R"("insert_line" string="true")",
                         is_number = R"("insert_line" string="false")";
  call.replace(call.find(is_text), is_text.size(), is_number);
  return "x</think>" + scripted_calls({call});
}
std::string undo(const std::string& path) {
  return "x</think>" + scripted_calls({scripted_call("str_replace_editor",
                                                     {{"command", "undo_edit"}, {"path", path}})});
}

// Each takes the other for one that may have mended something.
TEST_F(TurnTest, ACircleOfCallsThatFailIsStopped) {
  write("a.txt", "a\n");
  write("b.txt", "b\n");
  std::deque<Play> plays;
  for (int i = 0; i < 2 * kCallsStop - 1; ++i)
    plays.push_back({undo(root_ + (i % 2 == 0 ? "/a.txt" : "/b.txt"))});
  plays.push_back({"x</think>I cannot."});
  const auto result = turn(plays);
  EXPECT_EQ(result.reason, "repetition");
  EXPECT_THAT(result.message,
              HasSubstr("the same call of str_replace_editor failed 8 times: No edit of "));
  EXPECT_EQ(heard_.of("tool").size(), static_cast<std::size_t>(2 * kCallsStop - 1));
  EXPECT_EQ(heard_.of("text").back().text, "I cannot.");
  EXPECT_THAT(prompts_.back(), HasSubstr("no more calls"));
}

// What failed is worth another try once something has been changed.
TEST_F(TurnTest, FailuresBetweenChangesAreWork) {
  write("a.txt", "0\n");
  write("b.txt", "b\n");
  std::deque<Play> plays;
  for (int i = 0; i < 2 * kCallsStop; ++i) {
    plays.push_back({undo(root_ + "/b.txt")});
    plays.push_back({edit(root_ + "/a.txt", std::to_string(i), std::to_string(i + 1))});
  }
  plays.push_back({"x</think>Done."});
  EXPECT_EQ(turn(plays).reason, "end_turn");
}

TEST_F(TurnTest, AnEditThatWasTakenBackIsNotMadeAgainBeforeAnotherIsDrawn) {
  write("a.txt", "one\n");
  const std::string a = root_ + "/a.txt";
  turn({{edit(a, "one", "two")},
        {undo(a)},
        {edit(a, "one", "two")},
        {edit(a, "one", "three")},
        {"x</think>Done."}});
  EXPECT_EQ(read("a.txt"), "three\n");
  ASSERT_EQ(heard_.of("note").size(), 1u);
  EXPECT_EQ(heard_.of("note")[0].text, kRedrawnEdit);
  ASSERT_EQ(heard_.of("tool").size(), 4u);
  EXPECT_EQ(heard_.of("tool")[2].state, "rejected");
  EXPECT_EQ(prompts_[2], prompts_[3]);  // what was given up is not in the transcript
}

// With more of what stands around it, or as an insertion: the file would be the same.
TEST_F(TurnTest, AnEditThatWasTakenBackIsKnownInOtherWords) {
  write("a.txt", "zero\none\n");
  const std::string a = root_ + "/a.txt";
  turn({{edit(a, "one", "one\ntwo")},
        {undo(a)},
        {edit(a, "zero\none\n", "zero\none\ntwo\n")},
        {insert(a, 2, "two")},
        {edit(a, "one", "three")},
        {"x</think>Done."}});
  EXPECT_EQ(read("a.txt"), "zero\nthree\n");
  ASSERT_EQ(heard_.of("note").size(), 2u);
  EXPECT_EQ(heard_.of("note")[0].text, kRedrawnEdit);
  EXPECT_EQ(heard_.of("note")[1].text, kRedrawnEdit);
}

// Where another file is not what it was then, the same edit is another try.
TEST_F(TurnTest, AnEditThatWasTakenBackIsMadeBesideAnotherOne) {
  write("a.txt", "one\n"), write("b.txt", "one\n");
  const std::string a = root_ + "/a.txt", b = root_ + "/b.txt";
  turn({{edit(a, "one", "two")},
        {undo(a)},
        {edit(b, "one", "two")},
        {edit(a, "one", "two")},
        {"x</think>Done."}});
  EXPECT_EQ(read("a.txt"), "two\n");
  EXPECT_TRUE(heard_.of("note").empty());
}

TEST_F(TurnTest, AnEditThatChangesNothingIsNotMadeBeforeAnotherIsDrawn) {
  write("a.txt", "one\n");
  const std::string a = root_ + "/a.txt";
  turn({{edit(a, "one", "one")}, {edit(a, "one", "two")}, {"x</think>Done."}});
  EXPECT_EQ(read("a.txt"), "two\n");
  ASSERT_EQ(heard_.of("note").size(), 1u);
  EXPECT_EQ(heard_.of("note")[0].text, kRedrawnSame);
  EXPECT_EQ(prompts_[0], prompts_[1]);
}

// Not from its beginning, and not at random: with the likeliest of what the model did not say. What
// the answer says is told whole.
TEST_F(TurnTest, AnEditIsDrawnAgainFromTheLikeliestOtherToken) {
  write("a.txt", "one\n");
  const std::string said = edit(root_ + "/a.txt", "one", "one"),
                    end = said.substr(said.find("one</｜DSML｜parameter>\n</") + 3);
  const auto at =
      static_cast<std::int64_t>(engine_tokens(said.substr(0, said.size() - end.size() - 3)));
  Play first{said}, second{"w" + ("o" + end)};
  first.others = {{0, {"y", -4.0f}}, {at, {"t", -1.0f}}};
  turn({first, second, {"x</think>Done."}});
  EXPECT_EQ(read("a.txt"), "two\n");
  ASSERT_EQ(heard_.of("note").size(), 1u);
  ASSERT_EQ(heard_.of("tool").size(), 2u);
  EXPECT_THAT(heard_.of("tool")[1].arguments, HasSubstr(R"("new_str": "two")"));
  EXPECT_EQ(heard_.of("think").back().text, "x");
  EXPECT_EQ(prompts_[1], prompts_[0] + said.substr(0, said.size() - end.size() - 3) + "t");
  EXPECT_EQ(heard_.usages[0].generated,
            static_cast<std::int64_t>(engine_tokens(said) + 1 + engine_tokens("wo" + end) + 1));
  EXPECT_EQ(heard_.usages[0].thinking, 2);  // its end is one
  ASSERT_EQ(heard_.how.size(), 1u);
  EXPECT_THAT(heard_.how[0].parts, ElementsAre(DrawnPart{0, 0}, DrawnPart{at, 1}));
}

// The likeliest answers first, each from the one it departs from; and where there are no more, as
// where nothing is known of others.
TEST_F(TurnTest, OtherTokensAreTriedInTheOrderOfTheirAnswersProbabilities) {
  evaluates_again_ = kGoneBack;
  write("a.txt", "one\n");
  const std::string said = edit(root_ + "/a.txt", "one", "one"),
                    end = said.substr(said.find("one</｜DSML｜parameter>\n</") + 3);
  const std::string before = said.substr(0, said.size() - end.size() - 3);
  const auto at = static_cast<std::int64_t>(engine_tokens(before));
  Play first{said}, second{"one" + end}, third{before.substr(1) + "one" + end}, fourth{"q" + end},
      fifth{edit(root_ + "/a.txt", "one", "two")};
  first.others = {{0, {"y", -3.0f}}, {at, {"\n", -1.0f}}};
  second.others = {{0, {"p", -2.5f}}};  // behind -1: less likely than y
  const auto in_vain = [&](const std::string& to) {
    return std::deque<Play>{{edit(root_ + "/a.txt", "one", to)}, {undo(root_ + "/a.txt")}};
  };
  std::deque<Play> plays = in_vain("\none");
  for (const auto& play : in_vain("\npq")) plays.push_back(play);
  for (const auto& play : {first, second, third, fourth, fifth, Play{"x</think>Done."}})
    plays.push_back(play);
  turn(plays);
  EXPECT_EQ(read("a.txt"), "two\n");
  ASSERT_EQ(prompts_.size(), 10u);
  EXPECT_EQ(prompts_[5], prompts_[4] + before + "\n");
  EXPECT_EQ(prompts_[6], prompts_[4] + "y");
  EXPECT_EQ(prompts_[7], prompts_[4] + before + "\np");
  EXPECT_EQ(prompts_[8], prompts_[4]);
  EXPECT_TRUE(heard_.how.empty());  // the last is whole
}

// What an earlier step's answers could have been is nothing to go on with.
TEST_F(TurnTest, AnotherStepDepartsFromNoneOfTheAnswersBeforeIt) {
  write("a.txt", "one\n");
  const std::string in_vain = edit(root_ + "/a.txt", "one", "one");
  Play first{in_vain};
  first.others = {{0, {"y", -1.0f}}, {1, {"z", -2.0f}}};
  turn({first,
        {"</think>" + create(root_ + "/b.txt", "b")},
        {in_vain},
        {edit(root_ + "/a.txt", "one", "two")},
        {"x</think>Done."}});
  EXPECT_EQ(read("a.txt"), "two\n");
  ASSERT_EQ(prompts_.size(), 5u);
  EXPECT_EQ(prompts_[1], prompts_[0] + "y");
  EXPECT_EQ(prompts_[3], prompts_[2]);
}

TEST_F(TurnTest, AnEditBesideAnotherCallIsLookedAtToo) {
  write("a.txt", "one\n");
  const auto beside = [&](const std::string& to) {
    return "x</think>" +
           scripted_calls({scripted_call("bash", {{"command", "true"}}),
                           scripted_call("str_replace_editor", {{"command", "str_replace"},
                                                                {"path", root_ + "/a.txt"},
                                                                {"old_str", "one"},
                                                                {"new_str", to}})});
  };
  turn({{beside("one")}, {beside("two")}, {"x</think>Done."}});
  EXPECT_EQ(read("a.txt"), "two\n");
  ASSERT_EQ(heard_.of("note").size(), 1u);
  EXPECT_EQ(heard_.of("note")[0].text, kRedrawnSame);
}

TEST_F(TurnTest, AnEditThatBringsSyntaxErrorsIsNotMadeBeforeAnotherIsDrawn) {
  write("a.py", "def f(x):\n    return (x)\n"), write("broken.py", "def f(x:\n    return 1\n");
  const std::string a = root_ + "/a.py", broken = root_ + "/broken.py";
  turn({{edit(a, "(x)", "(x")},
        {edit(a, "return (x)", "return x")},
        {edit(broken, "1", "2")},
        {"x</think>Done."}});
  EXPECT_EQ(read("a.py"), "def f(x):\n    return x\n");
  EXPECT_EQ(read("broken.py"), "def f(x:\n    return 2\n");  // it had them before
  ASSERT_EQ(heard_.of("note").size(), 1u);
  EXPECT_EQ(heard_.of("note")[0].text, kRedrawnBroken);
}

// What they come to together is not foreseen.
TEST_F(TurnTest, SeveralEditsOfOneAnswerAreMade) {
  write("a.txt", "one\n");
  const auto replace = [&](const char* from, const char* to) {
    return scripted_call("str_replace_editor", {{"command", "str_replace"},
                                                {"path", root_ + "/a.txt"},
                                                {"old_str", from},
                                                {"new_str", to}});
  };
  turn({{"x</think>" + scripted_calls({replace("one", "one"), replace("one", "two")})},
        {"x</think>Done."}});
  EXPECT_EQ(read("a.txt"), "two\n");
  EXPECT_TRUE(heard_.of("note").empty());
}

// It has cost too much to be thrown away: the model reads what the edit came to.
TEST_F(TurnTest, AnEditBehindALongAnswerIsMade) {
  write("a.txt", "one\n");
  std::string thought;
  for (int i = 0; static_cast<std::int64_t>(thought.size()) <= kEditResampleTokensMax; ++i)
    thought += fmt::format("thought {}. ", i * i);
  turn({{thought + edit(root_ + "/a.txt", "one", "one")}, {"x</think>Done."}});
  EXPECT_TRUE(heard_.of("note").empty());
  EXPECT_EQ(heard_.of("tool").size(), 1u);
}

// It may have its reasons: grammars misparse honest code, and what is half done comes first.
TEST_F(TurnTest, AnEditThatIsInsistedOnRuns) {
  write("a.txt", "one\n"), write("a.py", "x = (1)\n");
  const std::string a = root_ + "/a.txt", py = root_ + "/a.py";
  std::deque<Play> plays{{edit(a, "one", "two")}, {undo(a)}};
  for (int i = 0; i <= kEditResamplesMax; ++i) plays.push_back({edit(a, "one", "two")});
  for (int i = 0; i <= kBrokenResamplesMax; ++i) plays.push_back({edit(py, "(1)", "(1")});
  plays.push_back({"x</think>Done."});
  turn(plays);
  EXPECT_EQ(read("a.txt"), "two\n");
  EXPECT_EQ(read("a.py"), "x = (1\n");
  EXPECT_EQ(heard_.of("note").size(),
            static_cast<std::size_t>(kEditResamplesMax + kBrokenResamplesMax));
}

// Drawn again from before the circle it goes in another: it was wrong before that.
TEST_F(TurnTest, AnAnswerInCirclesTwiceIsDrawnAgainFromItsBeginning) {
  std::string circle, other;
  for (int i = 0; i < 100; ++i) circle += "again and again, ", other += "round and round, ";
  const auto result = turn({{"I think: " + circle}, {other}, {"Now.</think>Done."}});
  ASSERT_EQ(result.reason, "end_turn");
  EXPECT_EQ(heard_.of("text").back().text, "Done.");
  ASSERT_EQ(heard_.of("note").size(), 2u);
  EXPECT_EQ(heard_.of("note")[1].text, kRedrawnCircles);
  ASSERT_EQ(prompts_.size(), 3u);
  EXPECT_EQ(prompts_[2], prompts_[0]);
}

// Behind edits in vain, too: nothing of an answer in circles is of use, and what the edits took of
// the draws it has still.
TEST_F(TurnTest, CirclesBehindEditsInVainAreDrawnAgainFromTheBeginning) {
  evaluates_again_ = kGoneBack;
  write("a.txt", "one\n");
  const std::string said = edit(root_ + "/a.txt", "one", "one");
  std::string circle, other;
  for (int i = 0; i < 100; ++i) circle += "again and again, ", other += "round and round, ";
  Play first{said};
  first.others = {{0, {"y", -1.0f}}, {1, {"w", -2.0f}}, {2, {"v", -3.0f}}};
  turn({first,
        {said.substr(1)},
        {circle},
        {other},
        {edit(root_ + "/a.txt", "one", "two")},
        {"x</think>Done."}});
  EXPECT_EQ(read("a.txt"), "two\n");
  ASSERT_EQ(prompts_.size(), 6u);
  EXPECT_EQ(prompts_[1], prompts_[0] + "y");
  EXPECT_EQ(prompts_[2], prompts_[0] + "xw");
  EXPECT_EQ(prompts_[4], prompts_[0]);
  ASSERT_EQ(heard_.of("note").size(), 4u);
  EXPECT_EQ(heard_.of("note")[3].text, kRedrawnCircles);
}

TEST_F(TurnTest, WhatIsNotDoneGoesOn) {
  check_ = [&]() -> asio::awaitable<Checked> {
    const Checked missing{.done = false, .text = "b.txt is missing.\nWrite it."},
        done{.text = "All is there."};
    co_return fs::exists(root_ + "/b.txt") ? done : missing;
  };
  const auto result = turn({{"x</think>" + create(root_ + "/a.txt", "a")},
                            {"x</think>Done."},
                            {"x</think>" + create(root_ + "/b.txt", "b")},
                            {"x</think>Done now."}});
  EXPECT_EQ(result.reason, "end_turn");
  ASSERT_EQ(prompts_.size(), 4u);
  EXPECT_TRUE(prompts_[2].ends_with(
      "Done.<｜end▁of▁sentence｜><｜User｜>b.txt is missing.\nWrite it.<｜Assistant｜><think>"))
      << prompts_[2].substr(prompts_[2].size() - 200);
  EXPECT_EQ(heard_.of("text").back().text, "Done now.");
  EXPECT_EQ(heard_.of("note").size(), 2u);
}

TEST_F(TurnTest, WhatIsNeverDoneEndsUnfinished) {
  int n = 0;
  check_ = [&]() -> asio::awaitable<Checked> {
    const Checked missing{.done = false, .text = fmt::format("{} is missing.\nWrite it.", ++n)};
    co_return missing;
  };
  std::deque<Play> plays{{"x</think>" + create(root_ + "/a.txt", "a")}};
  for (int i = 0; i <= kSentBackMax; ++i) plays.push_back({fmt::format("{}</think>Done.", i)});
  const auto result = turn(plays);
  EXPECT_EQ(result.reason, "unfinished");
  EXPECT_EQ(result.message,
            fmt::format("{} is missing.; a prompt such as `go on` continues", kSentBackMax + 1));
}

TEST_F(TurnTest, WhatNobodyCanTellEndsUnfinished) {
  check_ = [&]() -> asio::awaitable<Checked> {
    const Checked unknown{.done = true,
                          .known = false,
                          .text = "whether the tests pass is not known: there are none"};
    co_return unknown;
  };
  const auto result = turn({{"x</think>" + create(root_ + "/a.txt", "a")}, {"x</think>Done."}});
  EXPECT_EQ(result.reason, "unfinished");
  EXPECT_EQ(result.message, "whether the tests pass is not known: there are none");
}

// It says that it is done; so it is asked for what is not.
TEST_F(TurnTest, WhatDidNothingIsCheckedToo) {
  int n = 0;
  check_ = [&]() -> asio::awaitable<Checked> {
    const Checked missing{.done = false, .text = "b.txt is missing."}, done;
    co_return ++n == 1 ? missing : done;
  };
  EXPECT_EQ(turn({{"x</think>I did that."}, {"x</think>Nothing to do."}}).reason, "end_turn");
  EXPECT_EQ(n, 2);
  ASSERT_EQ(prompts_.size(), 2u);
  EXPECT_TRUE(prompts_[1].ends_with("<｜User｜>b.txt is missing.<｜Assistant｜><think>"))
      << prompts_[1].substr(prompts_[1].size() - 200);
}

}  // namespace
}  // namespace lares::daemon
