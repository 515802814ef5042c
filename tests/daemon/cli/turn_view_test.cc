// The status line of a turn, on a terminal that is a file.
#include "daemon/cli/turn_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace lares::cli {
namespace {

using protocol::Item;
using ::testing::HasSubstr;
using ::testing::Not;

std::int64_t seconds_ago(std::int64_t n) {
  using namespace std::chrono;
  const auto now = system_clock::now().time_since_epoch();
  return duration_cast<milliseconds>(now).count() - 1000 * n;
}

class TurnViewTest : public testing::Test {
 protected:
  ~TurnViewTest() override { std::fclose(file_); }

  // What the last tick wrote.
  std::string status() {
    const long before = size();
    view_.hide_status();
    view_.tick();
    std::string text(static_cast<std::size_t>(size() - before), '\0');
    std::fseek(file_, before, SEEK_SET);
    EXPECT_EQ(std::fread(text.data(), 1, text.size(), file_), text.size());
    return text;
  }

  void output(const std::string& id, const std::string& text) {
    view_.item_delta({.item_id = id, .field = "output", .text = text});
  }

  static Item running(const std::string& id) {
    return {.id = id, .turn_id = 1, .kind = "tool", .name = "bash", .state = "running"};
  }

  std::FILE* file_ = std::tmpfile();
  Screen screen_{::fileno(file_), {.is_terminal = true, .width = 200}};
  Transcript transcript_{screen_, {}};
  TurnView view_{screen_, transcript_};

  // Since the last look.
  std::string written() {
    std::string text(static_cast<std::size_t>(size() - looked_to_), '\0');
    std::fseek(file_, looked_to_, SEEK_SET);
    EXPECT_EQ(std::fread(text.data(), 1, text.size(), file_), text.size());
    looked_to_ += static_cast<long>(text.size());
    return text;
  }

 private:
  long looked_to_ = 0;
  long size() {
    std::fseek(file_, 0, SEEK_END);
    return std::ftell(file_);
  }
};

TEST_F(TurnViewTest, TheLastLineOfOutputIsShownWhole) {
  view_.item_snapshot(running("1.1"));
  output("1.1", "building target 101 of 200");
  EXPECT_THAT(status(), HasSubstr("building target 101 of 200"));
  output("1.1", "one\ntwo of 301\n");
  EXPECT_THAT(status(), HasSubstr("two of 301"));
  EXPECT_THAT(status(), Not(HasSubstr("one")));
  output("1.1", "x\n \n");
  EXPECT_THAT(status(), HasSubstr(" - x"));
}

// It is no part of writing the call that waits for it.
TEST_F(TurnViewTest, ASnapshotThatTakesLongSaysHowFarItIs) {
  const auto told = [&](std::int64_t done, std::int64_t total) {
    protocol::Message message;
    message.method = protocol::TurnSnapshot::kNotification;
    message.params = {{"sessionId", "s"}, {"turnId", 1}, {"done", done}, {"total", total}};
    view_.show(message, [](std::int64_t turn) { return turn == 1; });
  };
  view_.item_started({.id = "1.1", .turn_id = 1, .kind = "tool", .name = "bash"});
  EXPECT_THAT(status(), HasSubstr("writing a call of bash"));
  told(0, 0);
  EXPECT_THAT(status(), HasSubstr("taking a snapshot of the repository - "));
  told(12'500, 50'000);
  EXPECT_THAT(status(), HasSubstr("repository 25% - 12,500/50,000 files"));
  view_.item_snapshot(running("1.1"));
  EXPECT_THAT(status(), HasSubstr("running bash"));
}

TEST_F(TurnViewTest, TimesAreThoseOfWhatIsShownAndNotOfTheLook) {
  view_.turn_began(0, seconds_ago(125));
  view_.item_snapshot(running("1.1"), seconds_ago(65));
  EXPECT_THAT(status(), HasSubstr("running bash - 1m05s - turn 2m05s"));
  view_.item_snapshot(running("1.2"), seconds_ago(5));  // another call of the same tool
  EXPECT_THAT(status(), HasSubstr("running bash - 5s - turn 2m05s"));
  view_.turn_began(0, 0);
  view_.item_snapshot(running("2.1"), seconds_ago(-100));  // a clock that was set meanwhile
  EXPECT_THAT(status(), HasSubstr("running bash - 0s - turn 0s"));
}

// Where there is no status line, so in a pipe or a log.
TEST_F(TurnViewTest, ALongWaitIsToldNowAndThenWhereThereIsNoStatusLine) {
  Screen screen{::fileno(file_), {.is_terminal = false}};
  Transcript transcript{screen, {}};
  TurnView view{screen, transcript};
  const auto told = [&] {
    written();  // the calls themselves
    view.tick();
    return written();
  };
  view.item_snapshot(running("1.1"), seconds_ago(5));
  EXPECT_EQ(told(), "") << "it may be over in a moment";
  view.item_snapshot(running("1.2"), seconds_ago(65));
  EXPECT_THAT(told(), HasSubstr("running bash - 1m05s\n"));
  EXPECT_EQ(told(), "") << "and again in a minute";
  view.item_started({.id = "1.3", .turn_id = 1, .kind = "think"}, seconds_ago(300));
  view.item_snapshot({.id = "1.4", .turn_id = 1, .kind = "text", .text = "So"}, seconds_ago(300));
  EXPECT_EQ(told(), "") << "what is written shows that it goes on";
}

TEST_F(TurnViewTest, WhatNobodyCountedIsNoSum) {
  protocol::TurnEnded ended;
  ended.reason = "crashed", ended.message = "the daemon died during this turn";
  EXPECT_EQ(view_.summary(ended, {}, ""),
            "failed: the daemon died during this turn - no files changed");
  ended.usage.steps = 1;
  EXPECT_THAT(view_.summary(ended, {}, ""),
              HasSubstr(" - 1 step - 0 tokens in (0 cached) - 0 out"));
}

}  // namespace
}  // namespace lares::cli
