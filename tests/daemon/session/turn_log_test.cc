#include "daemon/session/turn_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

using ::testing::ElementsAre;

// Three turns of two tokens each; the transcript is begun anew in the second, as {9}.
struct Shortened {
  TurnLog log;
  Transcript now{{1, 2}, {}};
  Shortened() {
    log.begin(1, now);
    now.ids = {1, 2, 3, 4};
    now.results = {"read"};
    log.begin(2, now);
    now.ids = {1, 2, 3, 4, 5, 6};
    log.shortened(std::exchange(now, {{9}, {}}));
    now.ids = {9, 7, 8};
    log.begin(3, now);
    now.ids = {9, 7, 8, 10};
  }
  Transcript before(std::int64_t turn) const { return log.before(log.from(turn).front(), now); }
};

TEST(TurnLog, KnowsWhatWasThereBeforeEachTurn) {
  const Shortened s;
  EXPECT_THAT(s.before(1).ids, ElementsAre(1, 2));
  EXPECT_THAT(s.before(2).ids, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(s.before(2).results, ElementsAre("read"));
  EXPECT_THAT(s.before(3).ids, ElementsAre(9, 7, 8));
}

TEST(TurnLog, GoesBackBehindASummaryAndForthAgain) {
  Shortened s;
  s.log.cut(3, s.now, {});
  EXPECT_THAT(s.now.ids, ElementsAre(9, 7, 8));
  s.log.cut(2, s.now, {});
  EXPECT_THAT(s.now.ids, ElementsAre(1, 2, 3, 4));
  s.log.cut(1, s.now, {});
  EXPECT_THAT(s.now.ids, ElementsAre(1, 2));
  EXPECT_EQ(s.log.uncut(s.now), 1);
  EXPECT_EQ(s.log.uncut(s.now), 2);
  EXPECT_THAT(s.now.ids, ElementsAre(9, 7, 8));
  EXPECT_THAT(s.before(2).ids, ElementsAre(1, 2, 3, 4));  // still
  EXPECT_EQ(s.log.uncut(s.now), 3);
  EXPECT_THAT(s.now.ids, ElementsAre(9, 7, 8, 10));
  EXPECT_EQ(s.log.uncut(s.now), 0);
}

TEST(TurnLog, EachTranscriptKeepsWhatItsIdsMean) {
  TurnLog log;
  Transcript now{{1, 2}, {}, "one model's"};
  log.begin(1, now);
  now.ids = {1, 2, 3};
  log.shortened(std::exchange(now, {{}, {}, "another's"}));
  log.begin(2, now);
  now.ids = {7};
  EXPECT_EQ(log.before(log.from(2).front(), now).vocabulary, "another's");
  log.cut(1, now, {});
  EXPECT_EQ(now.vocabulary, "one model's");
  log.uncut(now);
  EXPECT_EQ(now.vocabulary, "another's");
}

TEST(TurnLog, EachTurnKeepsWhereTheModelThoughtTheRepositoryWas) {
  TurnLog log;
  Transcript now{{1, 2}, {}, ""};
  log.begin(1, now);
  log.cut(1, now, {});
  log.was_at("/there");
  log.uncut(now);
  EXPECT_EQ(now.root, "/there");
  log.begin(2, now);
  now.root.clear();  // it was told
  now.ids = {1, 2, 3};
  log.begin(3, now);
  EXPECT_EQ(log.before(log.from(1).front(), now).root, "/there");
  EXPECT_EQ(log.before(log.from(2).front(), now).root, "/there");
  EXPECT_EQ(log.before(log.from(3).front(), now).root, "");
  log.was_at("/elsewhere");
  EXPECT_EQ(log.before(log.from(2).front(), now).root, "/there");
  EXPECT_EQ(log.before(log.from(3).front(), now).root, "/elsewhere");
}

TEST(TurnLog, KnowsUpToWhichTurnAToolWasCalled) {
  Shortened s;
  protocol::Item item{.id = "3.1", .turn_id = 3, .kind = "tool"};
  item.name = "bash", item.state = "done";
  s.log.completed(item);  // it changed nothing, as denied calls
  EXPECT_FALSE(s.log.called("bash"));
  item.changes_untold = true;
  s.log.completed(item);
  EXPECT_TRUE(s.log.called("bash"));
  EXPECT_TRUE(s.log.called("bash", 3));
  EXPECT_FALSE(s.log.called("bash", 2));
  EXPECT_FALSE(s.log.called("git"));
  s.log.cut(3, s.now, {});
  EXPECT_FALSE(s.log.called("bash"));
}

TEST(TurnLog, KnowsWhatItsCallsFoundAndLeft) {
  Shortened s;
  protocol::Item item{.id = "3.1", .turn_id = 3, .kind = "tool"};
  item.snapshot = "before", item.snapshot_after = "after";
  item.changes.push_back({.path = "a.txt", .before = "one", .after = "two"});
  s.log.completed(item);
  item.kind = "note";
  s.log.completed(item);
  const auto calls = s.log.from(3).front().calls;
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].before, "before");
  EXPECT_EQ(calls[0].after, "after");
  EXPECT_THAT(calls[0].paths, ElementsAre("a.txt"));
  EXPECT_THAT(calls[0].found, ElementsAre("one"));
  EXPECT_THAT(calls[0].left, ElementsAre("two"));
  item.kind = "tool", item.changes_untold = true;  // those are of the snapshots
  s.log.completed(item);
  EXPECT_TRUE(s.log.from(3).front().calls.back().paths.empty());
  TurnLog none;
  none.completed(item);  // before the first turn
  EXPECT_TRUE(none.turns().empty());
}

TEST(TurnLog, KnowsWhatWentBackUntilThatIsDoneOrTakenBack) {
  Shortened s;
  const TurnLog::GoingBack going{.turn_id = 2, .undo = {"before", {"a.txt"}}, .changes = {}};
  for (const bool done : {false, true}) {
    s.log.going_back(going);
    s.log.begin(done ? 5 : 4, s.now);  // which settles it first
    ASSERT_TRUE(s.log.going_back());
    EXPECT_EQ(s.log.going_back()->undo.snapshot, "before");
    if (done)
      s.log.cut(3, s.now, going.undo);
    else
      s.log.not_going_back();
    EXPECT_FALSE(s.log.going_back());
  }
}

// The turns behind it are of the transcript that went.
TEST(TurnLog, AnotherWayFromBeforeASummaryKnowsNothingOfIt) {
  Shortened s;
  s.log.cut(2, s.now, {});
  EXPECT_TRUE(s.log.undo());
  s.log.begin(4, s.now);
  EXPECT_FALSE(s.log.undo());  // nor is there a way back to it
  s.now.ids.push_back(11);
  EXPECT_THAT(s.before(4).ids, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(s.before(1).ids, ElementsAre(1, 2));
}

}  // namespace
}  // namespace lares::daemon
