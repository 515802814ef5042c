// Which of several attempts is the best, and how they are shown.
#include "daemon/cli/commands/best_of_attempt.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/session/worktrees.h"

namespace lares::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Attempt attempt(int number, bool passed, std::int64_t failed, std::int64_t n_lines) {
  Attempt a;
  a.number = number;
  a.session.session_id = "session" + std::to_string(number);
  a.ended = true, a.reason = "end_turn";
  a.test = {.ran = true,
            .passed = passed,
            .counted = failed >= 0,
            .total = 9,
            .failed = std::max<std::int64_t>(failed, 0),
            .skipped = 0,
            .summary = ""};
  a.diff.n_changed = n_lines > 0, a.diff.n_added = n_lines;
  return a;
}
std::vector<int> order(const std::vector<Attempt>& attempts) {
  std::vector<int> out;
  for (const Attempt* a : ranked(attempts)) out.push_back(a->number);
  return out;
}

TEST(BestOf, PassingComesFirstThenFewestFailuresThenTheSmallestDiffThenTheFirst) {
  EXPECT_THAT(order({attempt(1, false, 1, 1), attempt(2, true, 0, 9), attempt(3, true, 0, 5),
                     attempt(4, true, 0, 5), attempt(5, false, 3, 1)}),
              ElementsAre(3, 4, 2, 1, 5));
}

TEST(BestOf, WhoCannotCountItsFailuresComesBehindWhoCan) {
  EXPECT_THAT(order({attempt(1, false, -1, 1), attempt(2, false, 8, 50)}), ElementsAre(2, 1));
}

TEST(BestOf, WhoChangedNothingDoesNotWinByTheSmallestDiff) {
  EXPECT_THAT(order({attempt(1, true, 0, 0), attempt(2, true, 0, 700)}), ElementsAre(2, 1));
  EXPECT_THAT(order({attempt(1, false, 0, 0), attempt(2, false, 9, 1)}), ElementsAre(2, 1));
}

TEST(BestOf, WhoseTurnDidNotEndComesBehindAtTheSameTests) {
  auto cut = attempt(1, true, 0, 3);
  cut.reason = "max_steps";
  EXPECT_THAT(order({cut, attempt(2, true, 0, 30)}), ElementsAre(2, 1));
}

TEST(BestOf, UntestedDoesNotPass) {
  auto untested = attempt(1, true, 0, 1);
  untested.untested = "the sandbox is off";
  EXPECT_FALSE(untested.passes());
  EXPECT_THAT(order({untested, attempt(2, false, 8, 50)}), ElementsAre(2, 1));
}

TEST(BestOf, TheTableFitsEightyColumns) {
  auto a = attempt(1, false, 12345, 123456);
  a.session.session_id = "0123456789ab";
  a.reason = "context_full", a.tokens = 1'000'000, a.test.total = 23456, a.diff.n_deleted = 123456;
  const std::string table = best_of_table(ranked({a}), {});
  for (std::size_t at = 0, end; (end = table.find('\n', at)) != std::string::npos; at = end + 1)
    EXPECT_LE(end - at, 80u) << table;
  EXPECT_THAT(table, HasSubstr("* 0123456789ab context_full"));
}

// A step prefills, draws and calls tools, and waits for the engine in between: none of that is a
// line of a log.
TEST(BestOf, WithoutATerminalAnAttemptHasALineForEachStepAndOneForItsEnd) {
  std::FILE* const file = std::tmpfile();
  AttemptLines lines(::fileno(file), {.is_terminal = false});
  std::vector<Attempt> all(1);
  all[0].number = 1;
  for (const int step : {1, 2}) {
    for (const char* const state : {"queued", "prefill", "decode", "tool", "queued", "decode"}) {
      all[0].state = state, all[0].step = step, all[0].tokens += 7;
      lines.show(all);
    }
  }
  all[0].ended = true, all[0].reason = "end_turn";
  lines.show(all);
  std::string text(1000, '\0');
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  EXPECT_EQ(std::ranges::count(text, '\n'), 3) << text;
  EXPECT_THAT(text, HasSubstr("step   2"));
  EXPECT_THAT(text, HasSubstr("1  finished"));
}

TEST(Worktrees, BranchesAreCalledByTheTitle) {
  using daemon::branch_name;
  EXPECT_EQ(branch_name("Fix the  date-parser's leap days!", "abcdefghijkl"),
            "lares/fix-the-date-parsers-leap-days-abcdef");
  EXPECT_EQ(branch_name("../..", "abcdefghijkl"), "lares/session-abcdef");
  EXPECT_EQ(branch_name("修复日期", "abcdefghijkl"), "lares/session-abcdef");
  EXPECT_LE(branch_name(std::string(500, 'x'), "abcdefghijkl").size(),
            6 + daemon::kSlugBytesMax + 7);
}

TEST(Worktrees, LinesOfADiffAreCountedWithoutItsHeaders) {
  std::int64_t n_added = 0, n_deleted = 0;
  daemon::count_lines("--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@\n same\n-gone\n+come\n+\n--\n", n_added,
                      n_deleted);
  EXPECT_EQ(n_added, 2);
  EXPECT_EQ(n_deleted, 2);
}

}  // namespace
}  // namespace lares::cli
