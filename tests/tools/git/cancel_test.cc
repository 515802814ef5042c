// A call that writes and is cancelled leaves everything as it was.
#include <filesystem>
#include <string>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "tests/tools/git/git_case.h"
#include "tools/git/repo.h"

namespace lares::tools::test {
namespace {

namespace fs = std::filesystem;

class CancelledGit : public Git {
 protected:
  void SetUp() override {
    Git::SetUp();
    repo_.write("a", "1\n");
    commit_all("first");
    repo_.write("a", "changed\n");
    before_ = state();
  }
  // All but the objects, whose names alone nobody asks for.
  std::string state() {
    const std::string index = repo_.read(".git/index");
    return sh(root(),
              "git rev-parse HEAD && find .git -path .git/objects -prune -o -print | sort") +
           index;
  }
  std::string objects() { return sh(root(), "find .git/objects -type f | sort"); }
  std::string half_written() { return sh(root(), "find .git/objects -name 'tmp_*'"); }

  std::string before_;
};

// While a file is being stored that takes half a minute, and not into a store that is borrowed
// from.
TEST_F(CancelledGit, CommitStopsInTheMidstOfALargeFile) {
  const Scratch other;
  sh(other.root(), "git init -q . && echo other > f && git hash-object -w f");
  repo_.write(".git/objects/info/alternates", other.at(".git/objects") + "\n");
  repo_.write("huge", "");
  fs::resize_file(repo_.at("huge"), 3ull << 30);  // takes no room, and compresses to 3 MB
  sh(root(), "git hash-object -w a");             // what comes before it
  const std::string stored = objects();
  for (const char* command : {"add", "commit"}) {
    asio::io_context io;
    asio::cancellation_signal cancel;
    Result<Outcome> result = Outcome{};
    bool ended = false;
    asio::co_spawn(
        io, tool_->run({{"command", command}, {"message", "m"}}, {}),
        asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr, Result<Outcome> came) {
          result = std::move(came);
          ended = true;
        }));
    while (!ended && half_written().empty()) io.poll();
    cancel.emit(asio::cancellation_type::terminal);
    io.run();
    ASSERT_FALSE(result) << command << ": " << result->text;
    EXPECT_EQ(result.error().code, Errc::cancelled);
    EXPECT_EQ(objects(), stored);
    EXPECT_EQ(state(), before_) << command;
  }
  fs::remove(repo_.at("huge"));
  const auto outcome = git({{"command", "commit"}, {"message", "second"}});
  EXPECT_TRUE(outcome.ok) << outcome.text;
  EXPECT_EQ(sh(root(), "git log --format=%s && git status --short"), "second\nfirst\n");
}

// One that is cancelled already does not begin.
TEST_F(CancelledGit, NothingIsStoredAfterwards) {
  const std::string stored = objects();
  const auto opened = git::open_repository(root().string());
  ASSERT_TRUE(opened) << opened.error();
  const Cancelled cancelled = true;
  git::Request request;
  request.root = root().string(), request.command = "commit", request.message = "m";
  git::Stop stop(cancelled);
  for (auto* call : {git::add, git::commit}) {
    const auto text = call(*opened, request, stop);
    ASSERT_FALSE(text) << *text;
    EXPECT_TRUE(text.error().ends_with(git::kCancelled)) << text.error();
    EXPECT_EQ(state(), before_);
    EXPECT_EQ(objects(), stored);
  }
}

}  // namespace
}  // namespace lares::tools::test
