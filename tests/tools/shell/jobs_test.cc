#include "tools/shell/jobs.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/tools/scratch.h"
#include "tools/shell/bash_tool.h"

namespace lares::tools {
namespace {

using ::testing::HasSubstr;

// Of both kinds of shells: one whose numbers of processes are the machine's, and one that has
// numbers of its own.
class Jobs : public testing::TestWithParam<bool> {
 protected:
  Jobs() {
    ::signal(SIGPIPE, SIG_IGN);
    tools_.push_back(std::make_unique<BashTool>(io_.get_executor(),
                                                BuiltinOptions{.root = dir_.root(),
                                                               .state_dir = state_.root(),
                                                               .sandbox_launcher = test::launcher(),
                                                               .no_sandbox = !GetParam(),
                                                               .command_timeout_ms = 30'000}));
  }
  void SetUp() override {
    if (const auto out = run(":"); !out.ok) GTEST_SKIP() << out.text;
  }
  Outcome run(const std::string& command) {
    auto result = test::call(io_, *tools_.front(), {{"command", command}});
    return result ? *result : Outcome{"BROKEN: " + result.error().message, false, {}};
  }
  JobStopped stop(int host_pid) {
    auto stopping = stop_job(tools_, host_pid);
    auto done = asio::co_spawn(io_, std::move(stopping), asio::use_future);
    io_.restart();
    io_.run();
    return done.get();
  }
  std::string news() {
    auto asking = tools_.front()->news();
    auto done = asio::co_spawn(io_, std::move(asking), asio::use_future);
    io_.restart();
    io_.run();
    return done.get();
  }
  // What the next command says of it.
  static std::string named(const RunningJob& job) {
    return fmt::format("[background job {} was stopped by the user: {}]", job.pid, job.command);
  }

  asio::io_context io_;
  test::Scratch dir_, state_;
  std::vector<std::unique_ptr<Tool>> tools_;
};

TEST_P(Jobs, OneIsStoppedWithAllBelowItAndTheOthersStay) {
  EXPECT_TRUE(running_jobs(tools_).empty());
  EXPECT_EQ(run("sleep 1001 & (sleep 1002; echo never) &").text, "");
  const auto running = running_jobs(tools_);
  ASSERT_EQ(running.size(), 2u);
  EXPECT_EQ(running[0].command, "sleep 1001");
  EXPECT_EQ(running[1].command, "( sleep 1002; echo never )");
  EXPECT_EQ(stop(::getpid()), JobStopped::gone) << "no process but a job's";
  EXPECT_EQ(stop(running[1].host_pid), JobStopped::ended);
  EXPECT_EQ(stop(running[1].host_pid), JobStopped::gone);
  ASSERT_EQ(running_jobs(tools_).size(), 1u);
  EXPECT_EQ(running_jobs(tools_)[0].host_pid, running[0].host_pid);
  EXPECT_EQ(news(), "") << "what the user did begins no turn";
  EXPECT_EQ(run("pgrep -f '[s]leep 1002'; echo looked").text, "looked\n" + named(running[1]));
  EXPECT_EQ(run("echo on").text, "on\n") << "told once";
}

TEST_P(Jobs, OneThatWillNotEndIsKilled) {
  run("(trap '' TERM; echo $BASHPID > it; while :; do sleep 0.1; done) & until [ -s it ]; do sleep "
      "0.01; done");
  const auto running = running_jobs(tools_);
  ASSERT_EQ(running.size(), 1u);
  EXPECT_EQ(std::to_string(running[0].pid) + "\n", dir_.read("it"));
  EXPECT_EQ(stop(running[0].host_pid), JobStopped::killed);
  EXPECT_THAT(run("echo on").text, HasSubstr(named(running[0])));
}

// Each time its child ends it starts another, also while it is told to end.
TEST_P(Jobs, OneThatStartsOthersAgainAndAgainLeavesNone) {
  run("(trap : TERM; while :; do sleep 1005; done) & sleep 0.2");
  const auto running = running_jobs(tools_);
  ASSERT_EQ(running.size(), 1u);
  EXPECT_EQ(stop(running[0].host_pid), JobStopped::killed);
  EXPECT_THAT(run("! pgrep -f '[s]leep 1005' && echo none is left").text, HasSubstr("none is left\n"));
}

TEST_P(Jobs, OneThatSleepsByASignalEndsToo) {
  run("sleep 1003 & kill -STOP $!");
  const auto running = running_jobs(tools_);
  ASSERT_EQ(running.size(), 1u);
  EXPECT_EQ(stop(running[0].host_pid), JobStopped::ended);
}

TEST_P(Jobs, APipelineWhoseFirstProgramHasEndedIsOne) {
  run("true | sleep 1004 & sleep 0.2");
  const auto running = running_jobs(tools_);
  ASSERT_EQ(running.size(), 1u);
  EXPECT_EQ(running[0].command, "true | sleep 1004");
  EXPECT_EQ(stop(running[0].host_pid), JobStopped::ended);
  EXPECT_THAT(run("echo on").text, HasSubstr(named(running[0])));
}

TEST_P(Jobs, OneThatEndedSinceTheShellWasAskedIsNotListed) {
  run("sleep 0.05 &");
  for (int i = 0; i < 500 && !running_jobs(tools_).empty(); ++i) ::usleep(10'000);
  EXPECT_TRUE(running_jobs(tools_).empty());
  EXPECT_THAT(news(), HasSubstr("ended: sleep 0.05: exit code 0]")) << "which is still told";
}

INSTANTIATE_TEST_SUITE_P(Shells, Jobs, testing::Values(false, true), [](const auto& kind) {
  return kind.param ? "InTheSandbox" : "WithoutOne";
});

}  // namespace
}  // namespace lares::tools
