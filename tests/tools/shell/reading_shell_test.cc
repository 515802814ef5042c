// The shell of turns that change nothing.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <chrono>
#include <functional>
#include <optional>
#include <thread>

#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <gmock/gmock.h>

#include "tests/tools/scratch.h"
#include "tools/fd.h"
#include "tools/shell/bash_tool.h"
#include "tools/shell/jobs.h"

namespace lares::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class ReadingShell : public testing::Test {
 protected:
  ReadingShell() { ::signal(SIGPIPE, SIG_IGN); }
  void SetUp() override {
    std::string why;
    wait([&]() -> asio::awaitable<void> { why = co_await shell_unavailable_reason(options()); });
    if (!why.empty()) GTEST_SKIP() << why;
  }
  BuiltinOptions options() const {
    return {.root = dir_.root(), .state_dir = state_.root(), .sandbox_launcher = test::launcher()};
  }
  Outcome run(Tool* tool, const std::string& command) {
    std::optional<Result<Outcome>> result;
    asio::co_spawn(io_, tool->run({{"command", command}}, {}),
                   [&](std::exception_ptr, Result<Outcome> r) { result = std::move(r); });
    io_.restart();
    while (!result && io_.run_one() > 0) {  // a proxy, where there is one, goes on
    }
    if (!result || !*result) return Outcome{"BROKEN", false, {}};
    return **result;
  }
  Outcome read(const std::string& command) { return run(tool_.for_reading(), command); }
  void wait(const std::function<asio::awaitable<void>()>& what) {
    asio::co_spawn(io_, what, asio::detached);
    io_.restart();
    io_.run();
  }

  test::Scratch dir_, state_;
  asio::io_context io_;
  BashTool tool_{io_.get_executor(), options()};
};

TEST_F(ReadingShell, ReadsAndWritesNothingOfTheRepository) {
  dir_.write("sub/a.txt", "alpha\n");
  dir_.write(".env", "TOKEN=1\n");
  EXPECT_THAT(read("grep -rn alpha . --include=*.txt").text, HasSubstr("./sub/a.txt:1:alpha\n"));
  for (const std::string command :
       {"echo x > new", "echo x >> sub/a.txt", "rm sub/a.txt", "mkdir d", "chmod 777 sub",
        "mv sub other", "touch -d 2001-01-01 sub/a.txt", "ln -s a.txt sub/b"})
    EXPECT_THAT(read(command).text, HasSubstr("Read-only file system")) << command;
  EXPECT_EQ(dir_.read("sub/a.txt"), "alpha\n");
  EXPECT_FALSE(std::filesystem::exists(dir_.at("new")));
  EXPECT_THAT(read("cat .env").text, Not(HasSubstr("TOKEN")));
  EXPECT_EQ(read("echo kept > /tmp/note; cat /tmp/note").text, "kept\n");
  EXPECT_FALSE(tool_.for_reading()->mutates({{"command", "rm -r ."}}));
  EXPECT_TRUE(tool_.mutates({{"command", "ls"}}));
}

TEST_F(ReadingShell, IsAShellOfItsOwnAndSaysSoOnce) {
  dir_.write("sub/a.txt", "alpha\n");
  EXPECT_EQ(run(&tool_, "cd sub; x=1").text, "");
  const std::string first = read("pwd; echo \"x is $x\"; cd sub; y=2").text;
  EXPECT_THAT(first, StartsWith("[a new shell, for reading, with a directory, environment and "
                                "jobs of its own: the repository cannot be written from here"));
  EXPECT_THAT(first, HasSubstr("]\n" + dir_.root() + "\nx is \n"));
  EXPECT_EQ(read("pwd; echo $y").text, dir_.at("sub") + "\n2\n");
  EXPECT_EQ(run(&tool_, "pwd; echo $x$y; echo new > b.txt").text, dir_.at("sub") + "\n1\n");
  EXPECT_EQ(read("cat b.txt").text, "new\n") << "what the other wrote is seen at once";
}

TEST_F(ReadingShell, ReachesNobodyInTheRepository) {
  const std::string before = dir_.at("before"), later = dir_.at("later");
  ASSERT_EQ(::mkfifo(before.c_str(), 0666), 0);
  const Fd reads_before(::open(before.c_str(), O_RDONLY | O_NONBLOCK));
  EXPECT_THAT(read("sleep 60 & echo x > before").text, HasSubstr("Read-only file system"));
  ASSERT_EQ(::mkfifo(later.c_str(), 0666), 0);
  const Fd reads_later(::open(later.c_str(), O_RDONLY | O_NONBLOCK));
  EXPECT_THAT(read("echo x > later").text, HasSubstr("Read-only file system"));
  const Fd listens(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  dir_.at("socket").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listens.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listens.get(), 1), 0);
  read(
      "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"socket\")' "
      "2>&1");
  pollfd waiting{.fd = listens.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&waiting, 1, 0), 0) << "somebody connected, while a job ran";
  EXPECT_EQ(run(&tool_, "mkfifo own; (cat own > got) & echo x > own; wait; cat got").text, "x\n")
      << "a shell for work keeps what is its own";
}

TEST_F(ReadingShell, ASecretSavedWhileACommandRunsIsHiddenFromTheNext) {
  const std::string env = dir_.at(".env");
  std::thread saves([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    dir_.write(".env", "TOKEN=1\n");
  });
  read("sleep 0.6");
  saves.join();
  EXPECT_THAT(read("cat .env").text, Not(HasSubstr("TOKEN")));
}

TEST_F(ReadingShell, TheEndOfAJobLeftInItIsTold) {
  read("(until [ -e go ]; do sleep 0.05; done; echo made it) &");
  EXPECT_FALSE(tool_.any_job_runs()) << "no turn begins with the end of one";
  dir_.write("go", "");
  std::string told;
  for (int i = 0; i < 1200 && told.empty(); ++i)
    wait([&]() -> asio::awaitable<void> {
      asio::steady_timer timer(io_, std::chrono::milliseconds(50));
      co_await timer.async_wait(asio::use_awaitable);
      told = co_await tool_.for_reading()->news();
    });
  EXPECT_THAT(told, StartsWith("Of the shell for reading:\n"));
  EXPECT_THAT(told, HasSubstr("made it"));
}

TEST_F(ReadingShell, ReachesNoHostThatMayBeReachedForWork) {
  BuiltinOptions listed = options();
  listed.network_allow = {"127.0.0.1:9"};
  BashTool tool(io_.get_executor(), listed);
  EXPECT_THAT(run(&tool, "echo proxy: $http_proxy").text, HasSubstr("proxy: http"));
  EXPECT_THAT(run(tool.for_reading(), "echo proxy: $http_proxy").text, HasSubstr("proxy:\n"));
}

TEST(ReadingShellWithoutSandbox, IsNone) {
  asio::io_context io;
  BashTool tool(io.get_executor(), BuiltinOptions{.root = "/nowhere", .no_sandbox = true});
  EXPECT_EQ(tool.for_reading(), nullptr);
}

}  // namespace
}  // namespace lares::tools
