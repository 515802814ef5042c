#include "tools/shell/job_table.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lares::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// As bash 5.2 prints them.
TEST(ShellJobs, AnEndIsToldOnce) {
  ShellJobs jobs;
  EXPECT_FALSE(jobs.any_runs());
  EXPECT_THAT(jobs.take("[1]- 27718 Running                 sleep 0.3 &\n[2]+ 27720 Running        "
                        "         ( sleep 0.1; exit 3 ) &\n"),
              ElementsAre());
  EXPECT_TRUE(jobs.any_runs());
  EXPECT_THAT(jobs.take("[1]- 27718 Running                 sleep 0.3 &\n[2]+ 27720 Exit 3         "
                        "         ( sleep 0.1; exit 3 )\n"),
              ElementsAre("[background job 27720 ended: ( sleep 0.1; exit 3 ): Exit 3]"));
  EXPECT_THAT(jobs.take("[1]+ 27718 Done                    sleep 0.3\n"),
              ElementsAre("[background job 27718 ended: sleep 0.3: exit code 0]"));
  EXPECT_FALSE(jobs.any_runs());
  EXPECT_THAT(jobs.take(""), ElementsAre());
}

TEST(ShellJobs, OneThatBeganAndEndedInOneCommandIsToldToo) {
  EXPECT_THAT(ShellJobs().take("[1]+ 5 Done                    true\n"),
              ElementsAre("[background job 5 ended: true: exit code 0]"));
}

// After `wait`, `disown` or a signal bash does not list it any more, so how it ended is not
// claimed.
TEST(ShellJobs, OneThatBashForgotIsMissed) {
  ShellJobs jobs;
  jobs.take("[1]+ 7 Running                 yes > /dev/null &\n");
  EXPECT_THAT(
      jobs.take(""),
      ElementsAre("[background job 7 is no longer among the shell's jobs: yes > /dev/null]"));
}

TEST(ShellJobs, APipelineIsOneJobAndALongCommandIsCut) {
  ShellJobs jobs;
  EXPECT_THAT(jobs.take("[1]  27744 Exit 1                  false\n     27745 Done                 "
                        "   | cat\nprinted in between\n"),
              ElementsAre("[background job 27744 ended: false | cat: Exit 1]"));
  jobs.take("[1]+ 9 Stopped                 " + std::string(500, 'x') + "\n");
  EXPECT_TRUE(jobs.any_runs());
  const auto told = jobs.take("[1]+ 9 Terminated              " + std::string(500, 'x') + "\n");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_LT(told[0].size(), 200u);
  EXPECT_THAT(told[0], HasSubstr("xxx...: Terminated]"));
}

TEST(ShellJobs, WhatRanIsKilledWithTheShell) {
  ShellJobs jobs;
  EXPECT_TRUE(jobs.killed().empty());
  jobs.take("[1]- 5 Running                 sleep 9 &\n[2]+ 6 Done                    true\n");
  EXPECT_THAT(jobs.killed(), ElementsAre("[background job 5 was killed with the shell: sleep 9]"));
  EXPECT_TRUE(jobs.killed().empty() && !jobs.any_runs());
}

// As bash prints them just after they began, and later.
TEST(ShellJobs, APipelineHasAllItsProcesses) {
  ShellJobs jobs;
  jobs.take(
      "[1]+ 20481 Running                 { sleep 2; }\n     20482                       | cat "
      "&\n");
  ASSERT_EQ(jobs.running().size(), 1u);
  EXPECT_THAT(jobs.running()[0].pids, ElementsAre(20481, 20482));
  EXPECT_EQ(jobs.running()[0].command, "{ sleep 2; } | cat");
  jobs.take(
      "[1]+ 20481 Running                 { sleep 2; }\n     20482 Running                 | "
      "cat &\n");
  EXPECT_THAT(jobs.running()[0].pids, ElementsAre(20481, 20482));
}

TEST(ShellJobs, OfAPipelinesLaterMembersTheCommandMayHaveBlanks) {
  ShellJobs jobs;
  jobs.take(
      "[1]+ 7 Running                 sleep 9\n     8                       | sh -c 'exec sleep  "
      "4013' &\n");
  ASSERT_EQ(jobs.running().size(), 1u);
  EXPECT_THAT(jobs.running()[0].pids, ElementsAre(7, 8));
  EXPECT_EQ(jobs.running()[0].command, "sleep 9 | sh -c 'exec sleep  4013'");
}

TEST(ShellJobs, OneThatTheUserStoppedIsToldApart) {
  ShellJobs jobs;
  const auto* const both = "[1]- 5 Running                 one &\n[2]+ 6 Running           two &\n";
  jobs.take(both);
  jobs.stopped(6);
  EXPECT_THAT(jobs.take(both), ElementsAre()) << "it takes a moment to end";
  ASSERT_EQ(jobs.running().size(), 1u);
  EXPECT_EQ(jobs.running()[0].command, "one");
  EXPECT_THAT(jobs.stopped_by_user(), ElementsAre());
  EXPECT_THAT(
      jobs.take("[1]- 5 Running                 one &\n[2]+ 6 Terminated              two\n"),
      ElementsAre());
  EXPECT_THAT(jobs.stopped_by_user(),
              ElementsAre("[background job 6 was stopped by the user: two]"));
  EXPECT_THAT(jobs.stopped_by_user(), ElementsAre());
  jobs.stopped(5);
  EXPECT_FALSE(jobs.any_runs());
  EXPECT_THAT(jobs.killed(), ElementsAre("[background job 5 was stopped by the user: one]"));
}

TEST(ShellJobs, ManyAreCounted) {
  std::string table;
  for (int i = 0; i < 100; ++i)
    table += fmt::format("[{}]  {} Done                    true\n", i + 1, i + 500);
  const auto told = ShellJobs().take(table);
  ASSERT_EQ(told.size(), kJobsToldMax + 1);
  EXPECT_EQ(told.back(), "[and 80 more background jobs ended]");
}

TEST(ShellJobs, WhatAJobPrintedBeforeTheTableIsNotLost) {
  ShellJobs jobs;
  std::string printed;
  EXPECT_THAT(
      jobs.take(
          "half a line\nand\n[1]+ 5 Done                    for i in 1; do\n    echo;\ndone\n",
          &printed),
      ElementsAre("[background job 5 ended: for i in 1; do: exit code 0]"));
  EXPECT_EQ(printed, "half a line\nand\n");
}

}  // namespace
}  // namespace lares::tools
