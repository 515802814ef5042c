// The thread that calls never waits for a disk, and whoever cancels a call learns what it did.
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <gmock/gmock.h>

#include "tests/tools/scratch.h"
#include "tools/edit/edit_tool.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

using testing::HasSubstr;

class EditOffThread : public testing::Test {
 protected:
  ~EditOffThread() override { threads_.join(); }

  void begin(const std::string& path, const std::string& from, const std::string& to) {
    nlohmann::json args = {
        {"command", "str_replace"}, {"path", path}, {"old_str", from}, {"new_str", to}};
    asio::co_spawn(io_, tool_.run(std::move(args), {}),
                   asio::bind_cancellation_slot(
                       stop_.slot(), [this](std::exception_ptr thrown, Result<Outcome> result) {
                         EXPECT_FALSE(thrown);
                         outcome_ = std::move(result);
                       }));
    io_.poll();
  }

  test::Scratch dir_;
  asio::io_context io_;
  asio::cancellation_signal stop_;
  std::optional<Result<Outcome>> outcome_;
  asio::thread_pool threads_{1};
  EditTool tool_{BuiltinOptions{.root = dir_.root(), .threads = &threads_}};
};

ino_t inode(const std::string& path) {
  struct stat st {};
  EXPECT_EQ(::stat(path.c_str(), &st), 0);
  return st.st_ino;
}

TEST_F(EditOffThread, TheCallerGoesOnWhileTheDiskIsBusy) {
  const auto path = dir_.write("a", "one\n");
  std::latch free(1);
  asio::post(threads_, [&] { free.wait(); });
  begin(path, "one", "two");
  bool went_on = false;
  asio::post(io_, [&] { went_on = true; });
  io_.poll();
  EXPECT_TRUE(went_on);
  EXPECT_FALSE(outcome_);
  EXPECT_EQ(dir_.read("a"), "one\n");
  free.count_down();
  io_.run();
  ASSERT_TRUE(outcome_ && *outcome_);
  EXPECT_TRUE((*outcome_)->ok);
  EXPECT_EQ(dir_.read("a"), "two\n");
}

TEST_F(EditOffThread, CancelledBeforeItBeganItChangesNothing) {
  const auto path = dir_.write("a", "one\n");
  std::latch free(1);
  asio::post(threads_, [&] { free.wait(); });
  begin(path, "one", "two");
  stop_.emit(asio::cancellation_type::terminal);
  io_.poll();  // which passes it on
  free.count_down();
  io_.run();
  ASSERT_TRUE(outcome_ && !*outcome_);
  EXPECT_EQ(outcome_->error().code, Errc::cancelled);
  EXPECT_EQ(dir_.read("a"), "one\n");
}

// The file is large, so that the call is still busy with it once it is written.
TEST_F(EditOffThread, CancelledWhileItWritesItTellsWhatItDid) {
  std::string lines;
  while (lines.size() < RootedFs::kFileBytesMax - 100) lines += "a line like every other\n";
  const auto path = dir_.write("a", "one\n" + lines);
  const ino_t before = inode(path);
  begin(path, "one\n", "two\n");
  while (inode(path) == before) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  stop_.emit(asio::cancellation_type::terminal);
  io_.poll();
  io_.run();
  ASSERT_TRUE(outcome_ && *outcome_);
  EXPECT_TRUE((*outcome_)->ok);
  ASSERT_EQ((*outcome_)->changes.size(), 1u);
  EXPECT_EQ((*outcome_)->changes[0].after, blob_sha("two\n" + lines));
}

// What the session's model is shown meanwhile, by its editor, counts for the next call.
TEST_F(EditOffThread, TextsAreNotedWhileACallRuns) {
  const auto path = dir_.write("a", "one\n");
  std::latch free(1);
  asio::post(threads_, [&] { free.wait(); });
  begin(path, "one", "two");
  tool_.note_seen("a", "zero\n");
  free.count_down();
  io_.run();
  ASSERT_TRUE(outcome_ && *outcome_);
  EXPECT_THAT((*outcome_)->text, HasSubstr("changed since you last saw it"));
  EXPECT_EQ(dir_.read("a"), "one\n");
}

// Whoever says what was shown does so on the caller's thread, of the file that a link leads to.
TEST_F(EditOffThread, WhatWasShownIsAskedOnTheCallersThread) {
  dir_.write("a", "one\n");
  ASSERT_EQ(::symlink("a", dir_.at("link").c_str()), 0);
  std::vector<std::pair<std::string, std::thread::id>> asked;
  tool_.ask_what_was_shown([&](const std::string& path) -> std::optional<KnownText> {
    asked.emplace_back(path, std::this_thread::get_id());
    return KnownText{blob_sha("zero\n"), std::make_shared<const std::string>("zero\n")};
  });
  begin(dir_.at("link"), "one", "two");
  io_.run();
  EXPECT_THAT(asked, testing::ElementsAre(testing::Pair("a", std::this_thread::get_id())));
  ASSERT_TRUE(outcome_ && *outcome_);
  EXPECT_THAT((*outcome_)->text, HasSubstr("-zero\n+one\n"));
  EXPECT_EQ(dir_.read("a"), "one\n");
}

}  // namespace
}  // namespace lares::tools
