#include "daemon/hooks/hooks.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/temporary_directory.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class HooksTest : public ::testing::Test {
 protected:
  void SetUp() override { std::signal(SIGPIPE, SIG_IGN); }

  template <class T>
  T wait(asio::awaitable<T> what) {
    asio::io_context io;
    T out{};
    asio::co_spawn(io, std::move(what), [&](std::exception_ptr e, T result) {
      EXPECT_FALSE(e);
      out = std::move(result);
    });
    io.run();
    return out;
  }
  Hooks hooks(HookConfig config) {
    return Hooks(std::move(config), root_, "s1",
                 [this](const std::string& note) { notes_.push_back(note); });
  }
  std::string read(const std::string& name) const {
    std::ifstream file(root_ + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const TemporaryDirectory directory_;
  const std::string root_ = directory_.path();
  std::vector<std::string> notes_;
  protocol::Item item_{.id = "2.3",
                       .turn_id = 2,
                       .kind = "tool",
                       .name = "bash",
                       .arguments = R"({"command": "ls"})",
                       .state = "done",
                       .output = "a.txt\n"};
};

TEST_F(HooksTest, ReadsTheCallAndLetsItPass) {
  auto h = hooks({.before_tool = {{.command = "cat > seen.json; pwd > where"}}});
  EXPECT_EQ(wait(h.before(item_)), std::nullopt);
  EXPECT_EQ(nlohmann::json::parse(read("seen.json")),
            (nlohmann::json{{"event", "before_tool"},
                            {"session", "s1"},
                            {"root", root_},
                            {"turn", 2},
                            {"tool", "bash"},
                            {"arguments", {{"command", "ls"}}}}));
  EXPECT_EQ(read("where"), root_ + "\n");
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(HooksTest, IsNoFailureWhereTheTurnIsStopped) {
  auto h = hooks({.before_tool = {{.command = "echo > began; exec sleep 60"}}});
  asio::io_context io;
  asio::cancellation_signal stop;
  bool over = false;
  asio::co_spawn(io, h.before(item_),
                 asio::bind_cancellation_slot(
                     stop.slot(), [&](std::exception_ptr, const auto&) { over = true; }));
  while (!over) {
    io.run_for(std::chrono::milliseconds(10));
    if (fs::exists(root_ + "/began")) stop.emit(asio::cancellation_type::all);
  }
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(HooksTest, StopsACallAndSaysWhy) {
  auto h = hooks({.before_tool = {{.tools = {"test"}, .command = "exit 2"},
                                  {.tools = {"bash"}, .command = "echo not today >&2; exit 2"},
                                  {.command = "touch ran"}}});
  EXPECT_EQ(wait(h.before(item_)), "A hook of the user's stopped this call: not today\n");
  EXPECT_FALSE(fs::exists(root_ + "/ran"));
}

TEST_F(HooksTest, OneThatFailsIsToldToPeopleAndStopsNothing) {
  auto h = hooks({.before_tool = {{.command = "echo broken; exit 1"},
                                  {.command = "sleep 100", .timeout_ms = 50},
                                  {.command = "kill -9 $$"},
                                  {.command = "touch ran"}}});
  EXPECT_EQ(wait(h.before(item_)), std::nullopt);
  EXPECT_TRUE(fs::exists(root_ + "/ran"));
  EXPECT_THAT(notes_,
              ElementsAre(HasSubstr("`echo broken; exit 1` failed with exit status 1: broken"),
                          HasSubstr("`sleep 100` failed: it took longer than 50 ms"),
                          HasSubstr("`kill -9 $$` failed: it was killed by signal 9")));
}

// Its children may hold its output open, in its group or away from it.
TEST_F(HooksTest, WhatOneSaysHoldsWhateverItLeavesRunning) {
  for (const char* command : {"sleep 30 & echo no; exit 2", "setsid -f sleep 3; echo no; exit 2",
                              "setsid -f sleep 3 < /dev/stdin; echo no; exit 2"}) {
    auto h = hooks({.before_tool = {{.command = command, .timeout_ms = 20'000}}});
    const auto start = std::chrono::steady_clock::now();
    item_.output = std::string(1 << 20, 'x');  // more than a pipe holds, and nobody reads it
    EXPECT_EQ(wait(h.before(item_)), "A hook of the user's stopped this call: no\n") << command;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(2500)) << command;
  }
  EXPECT_THAT(notes_, IsEmpty());
}

// Who waits for none of its reads is heard no longer than others.
TEST_F(HooksTest, OneThatFloodsFromElsewhereIsHeardNoLonger) {
  auto late =
      hooks({.after_tool = {{.command = "setsid yes hook & sleep 100", .timeout_ms = 300}}});
  EXPECT_EQ(wait(late.after(item_)), "");
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("it took longer than 300 ms")));
  auto ended = hooks({.after_tool = {{.command = "setsid yes hook & sleep 0.1"}}});
  EXPECT_THAT(wait(ended.after(item_)), HasSubstr("[hook] hook\nhook\n"));
}

TEST_F(HooksTest, HasTheEnvironmentOfTheUsers) {
  for (const auto& [name, value] : {std::pair("DISPLAY", ":7"), std::pair("TERM", "xterm-hooks"),
                                    std::pair("MY_OWN", "two words\nand a line")})
    ::setenv(name, value, 1);
  ::unsetenv("CI");
  auto h = hooks({.after_tool = {{.command = "echo \"$DISPLAY $TERM $MY_OWN ${CI-none}\""}}});
  EXPECT_EQ(wait(h.after(item_)), "[hook] :7 xterm-hooks two words\nand a line none\n");
}

TEST_F(HooksTest, OneThatClosedItsOutputIsTimedToo) {
  auto h =
      hooks({.before_tool = {{.command = "exec >/dev/null 2>&1; sleep 100", .timeout_ms = 50}}});
  EXPECT_EQ(wait(h.before(item_)), std::nullopt);
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("took longer than 50 ms")));
}

TEST_F(HooksTest, WhatOnePrintsAfterACallIsReadBehindItsResult) {
  auto h = hooks({.after_tool = {{.command = "echo two warnings"},
                                 {.command = "true"},
                                 {.command = "printf 'one more'; exit 2"}}});
  EXPECT_EQ(wait(h.after(item_)), "[hook] two warnings\n[hook] one more");
  auto seen = hooks({.after_tool = {{.command = "cat > seen.json"}}});
  wait(seen.after(item_));
  const auto json = nlohmann::json::parse(read("seen.json"));
  EXPECT_EQ(json.at("state"), "done");
  EXPECT_EQ(json.at("output"), "a.txt\n");
}

TEST_F(HooksTest, OutputAndInputAreBounded) {
  auto h = hooks({.after_tool = {{.command = "yes | head -c 1000000"}}});
  item_.output = std::string(4 << 20, 'x');  // more than a pipe holds, and the hook reads none of
                                             // it
  EXPECT_LE(wait(h.after(item_)).size(), kHookOutputBytesMax + 20);
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(HooksTest, TheEndIsPutOffAFewTimesOnly) {
  auto h = hooks({.turn_end = {{.command = "echo the tests fail; exit 2"}}});
  for (int i = 0; i < kHookContinuationsMax; ++i)
    EXPECT_EQ(wait(h.at_end(2)),
              "A hook of the user's says that this is not done: the tests fail\n");
  EXPECT_EQ(wait(h.at_end(2)), "");
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("not content 3 times")));
  EXPECT_EQ(wait(hooks({.turn_end = {{.command = "echo fine"}}}).at_end(2)), "");
}

}  // namespace
}  // namespace lares::daemon
