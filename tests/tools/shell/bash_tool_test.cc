#include "tools/shell/bash_tool.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <functional>
#include <optional>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/tools/scratch.h"
#include "tools/spill.h"
#include "tools/workspace/own_files.h"

namespace lares::tools {
namespace {

using nlohmann::json;

// Dead, or dead and not yet reaped by whoever inherited it. A killed process takes a moment to go.
bool dies(int pid) {
  for (int i = 0; i < 500; ++i) {
    std::string stat;
    // One that ends meanwhile has none
    std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat"), stat);
    const std::size_t close = stat.rfind(')');
    if (close == std::string::npos || stat.compare(close, 3, ") Z") == 0) return true;
    ::usleep(10'000);
  }
  return false;
}

class Bash : public testing::Test {
 protected:
  Bash() { ::signal(SIGPIPE, SIG_IGN); }
  BuiltinOptions options(int timeout_ms = 30'000) const {
    return {.root = dir_.root(),
            .state_dir = state_.root(),
            .sandbox_launcher = test::launcher(),
            .no_sandbox = true,
            .command_timeout_ms = timeout_ms};
  }
  Outcome run(BashTool& tool, const std::string& command) {
    auto result = test::call(io_, tool, {{"command", command}}, [this](const std::string& text) {
      streamed_ += text;
      ++n_streamed_;
    });
    return result ? *result : Outcome{"BROKEN: " + result.error().message, false, {}};
  }
  Outcome run(const std::string& command) { return run(tool_, command); }

  test::Scratch dir_, state_;
  asio::io_context io_;
  BashTool tool_{io_.get_executor(), options()};
  std::string streamed_;
  int n_streamed_ = 0;
};

// What the model hears when it has called nothing of bash since.
std::string news(asio::io_context& io, BashTool& tool) {
  std::string out;
  asio::co_spawn(
      io, [&]() -> asio::awaitable<void> { out = co_await tool.news(); }, asio::detached);
  io.restart();
  io.run();
  return out;
}

constexpr const char* kReset =
    "The persistent bash shell was reset and its background jobs were killed; the next bash call "
    "starts from the workspace with a fresh current directory and environment.";
constexpr const char* kNew =
    "[a new shell: the directory, environment and background jobs of earlier calls are gone]\n";

TEST_F(Bash, OutputIsAsItIs) {
  const Outcome out = run("echo one; printf 'two' >&2");
  EXPECT_TRUE(out.ok);
  EXPECT_EQ(out.text, "one\ntwo");
  EXPECT_EQ(streamed_, "one\ntwo");
}
TEST_F(Bash, ExitCodeOnItsOwnLine) {
  const Outcome out = run("echo x; (exit 3)");
  EXPECT_FALSE(out.ok);
  EXPECT_EQ(out.text, "x\n[exit code: 3]");
  EXPECT_EQ(run("false").text, "[exit code: 1]");
  EXPECT_EQ(run("printf abc; false").text, "abc\n[exit code: 1]");
}
TEST_F(Bash, TheEndOfABackgroundJobIsNews) {
  EXPECT_EQ(news(io_, tool_), "");
  EXPECT_EQ(run("(while [ ! -e go ]; do sleep 0.01; done; echo last words; exit 7) &").text, "");
  EXPECT_EQ(news(io_, tool_), "");
  dir_.write("go", "");
  std::string told;
  for (int i = 0; i < 500 && told.empty(); ++i) ::usleep(10'000), told = news(io_, tool_);
  EXPECT_THAT(told, ::testing::MatchesRegex("\\[background job [0-9]+ ended: .*: Exit 7\\]\nWhat "
                                            "background jobs printed last:\nlast words\n"));
  EXPECT_EQ(news(io_, tool_), "");
  EXPECT_EQ(run("echo on; echo $?").text, "on\n0\n");
}
TEST_F(Bash, AJobThatEndsWhileAnotherCommandRunsIsToldBehindIt) {
  run("(while [ ! -e go ]; do sleep 0.01; done) & job=$!");
  EXPECT_THAT(run("touch go; wait $job; echo waited; (exit 4)").text,
              ::testing::MatchesRegex("waited\n\\[exit code: 4\\]\n\\[background job [0-9]+ is no "
                                      "longer among the shell's jobs: .*\\]"));
  EXPECT_EQ(news(io_, tool_), "");
}
// What jobs print between two commands is not lost by asking for them.
TEST_F(Bash, WhatJobsPrintIsKeptForTheNextCommand) {
  run("(sleep 0.05; echo early; while [ ! -e go ]; do sleep 0.01; done) &");
  ::usleep(300'000);
  EXPECT_EQ(news(io_, tool_), "");
  EXPECT_EQ(run("echo now").text,
            "early\n[so far: output of background jobs since the last command]\nnow\n");
  dir_.write("go", "");
}
TEST_F(Bash, StateSurvives) {
  dir_.write("sub/x", "");
  EXPECT_EQ(run("cd sub; export A='it''s'; f() { echo \"f $1\"; }; shopt -s nullglob").text, "");
  EXPECT_EQ(run("pwd; echo $A; f 1").text, dir_.at("sub") + "\nits\nf 1\n");
}
// Its shell and what that knows stay, for a command as for who asks about jobs.
TEST_F(Bash, ACommandThatEndsWithinAQuoteIsNotTheShellsEnd) {
  run("x=kept; sleep 1000 &");
  for (const char* open :
       {"git commit -m 'it's done'", "echo \"a", "echo `date", "echo ${x", "echo $((1 + 2",
        "[[ -f x", "echo $'a", "ls \\", "if true; then", "f() {"}) {
    EXPECT_THAT(run(open).text, ::testing::Not(::testing::HasSubstr("shell"))) << open;
    EXPECT_EQ(news(io_, tool_), "") << open;
    EXPECT_EQ(run("echo $x").text, "kept\n") << open;
  }
}
TEST_F(Bash, AnyTextIsACommand) {
  EXPECT_EQ(run("cat <<'X'\n$a `b` \\ 'q' \"d\" \u20ac\nX").text, "$a `b` \\ 'q' \"d\" \u20ac\n");
  EXPECT_EQ(run("for i in 1 2; do\n  echo $i\n  break\ndone; break 2>/dev/null; echo on").text,
            "1\non\n");
  EXPECT_NE(run("if then").text.find("syntax error"), std::string::npos);
  EXPECT_EQ(run("# nothing").text, "");
  EXPECT_EQ(run("").text, "");
  EXPECT_EQ(run("echo " + std::string(200'000, 'y') + " | wc -c").text, "200001\n");
  EXPECT_EQ(run("set -x; true; set +x 2>/dev/null; echo after").text.find("<\036"),
            std::string::npos);
  EXPECT_EQ(run("echo still").text, "still\n");
}
TEST_F(Bash, StdinIsEmpty) {
  EXPECT_EQ(run("cat; read x; echo \"[$x]\"").text, "[]\n");
  EXPECT_EQ(run("yes | head -n 1").text, "y\n");
}
TEST_F(Bash, EnvironmentSuitsAPipe) {
  EXPECT_EQ(run("echo $CI $PAGER $GIT_PAGER $TERM $NO_COLOR").text, "1 cat cat dumb 1\n");
}
TEST_F(Bash, ShellExitIsSaidAndReset) {
  run("cd /; X=1");
  EXPECT_EQ(run("echo bye; exit 7").text, std::string("bye\n[shell exited: code 7]\n") + kReset);
  EXPECT_EQ(run("echo \"$X\"; pwd").text, "\n" + dir_.root() + "\n");
  EXPECT_EQ(run("kill -KILL $$").text, std::string("[shell killed by signal: SIGKILL]\n") + kReset);
  EXPECT_EQ(run("sleep 50 & exit 2").text, std::string("[shell exited: code 2]\n") + kReset);
}
TEST_F(Bash, TimeoutGivesThePartialOutputAndResets) {
  BashTool tool(io_.get_executor(), options(1000));
  const auto begin = Clock::now();
  const Outcome out = run(tool, "cd /; echo partial; sleep 60");
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(20));
  EXPECT_FALSE(out.ok);
  EXPECT_EQ(out.text, std::string("Your command timed out after 1 seconds or experienced an OOM "
                                  "error. Below is partial output:\npartial\n"
                                  "[the user's setting command_timeout allows no longer; what "
                                  "takes longer runs in the background]\n") +
                          kReset);
  EXPECT_EQ(run(tool, "pwd").text, dir_.root() + "\n");
}
TEST_F(Bash, TimeoutNamesTheJobsItKills) {
  BashTool tool(io_.get_executor(), options(1000));
  EXPECT_EQ(run(tool, "sleep 71 & sleep 72 &").text, "");
  EXPECT_THAT(run(tool, "sleep 60").text,
              ::testing::MatchesRegex(".* were killed; .*environment\\.\n"
                                      "\\[background job [0-9]+ was killed with the shell: sleep "
                                      "71\\]\n"
                                      "\\[background job [0-9]+ was killed with the shell: sleep "
                                      "72\\]"));
  EXPECT_EQ(run(tool, "pwd").text, dir_.root() + "\n");  // told once
}
TEST_F(Bash, TheLossOfAShellThatNoResultToldIsToldBeforeTheNext) {
  EXPECT_EQ(run("mkdir d; cd d; sleep 73 &").text, "");
  asio::cancellation_signal signal;
  io_.restart();
  asio::co_spawn(io_, tool_.run({{"command", "touch up; sleep 60"}}, {}),
                 asio::bind_cancellation_slot(signal.slot(), [](auto&&...) {}));
  while (!std::filesystem::exists(dir_.at("d/up"))) io_.run_for(std::chrono::milliseconds(10));
  signal.emit(asio::cancellation_type::total);
  io_.run();
  streamed_.clear();
  const std::string text = run("pwd").text;
  EXPECT_THAT(text, ::testing::MatchesRegex(
                        "\\[a new shell: [^\n]*\\]\n\\[background job [0-9]+ was killed with the "
                        "shell: sleep 73\\]\n/[^\n]*\n"));
  EXPECT_TRUE(text.starts_with(kNew) && text.ends_with("\n" + dir_.root() + "\n")) << text;
  EXPECT_EQ(streamed_, text);
  EXPECT_EQ(run("pwd").text, dir_.root() + "\n");
}
TEST_F(Bash, AShellThatEndsBetweenTwoCommandsIsToldOfToo) {
  run("(while [ ! -e go ]; do sleep 0.01; done; kill -KILL $$; touch gone) &");
  dir_.write("go", "");
  while (!std::filesystem::exists(dir_.at("gone"))) ::usleep(10'000);
  const std::string text = run("echo on").text;  // which may come before its end
  EXPECT_TRUE((text.starts_with(kNew) && text.ends_with("\non\n")) ||
              text.find("\n[the shell ended before this command, which was not run]\n") !=
                  std::string::npos)
      << text;
}
TEST_F(Bash, TheFirstShellSaysSoOnlyWhereThereWasAnother) {
  EXPECT_EQ(run("echo on").text, "on\n");
  BuiltinOptions later = options();
  later.had_shell = true;
  BashTool tool(io_.get_executor(), later);
  EXPECT_EQ(run(tool, "echo on; (exit 3)").text, std::string(kNew) + "on\n[exit code: 3]");
  EXPECT_EQ(run(tool, "echo on").text, "on\n");
}
TEST_F(Bash, TimeoutKillsTheTree) {
  BashTool tool(io_.get_executor(), options(1000));
  run(tool, "(sleep 60; echo late > late) & bash -c 'echo $$ > pid; sleep 61'");
  const int pid = std::atoi(dir_.read("pid").c_str());
  ASSERT_GT(pid, 0);
  EXPECT_TRUE(dies(pid));
}
TEST_F(Bash, AFloodIsBoundedAndTimesOut) {
  BashTool tool(io_.get_executor(), options(1500));
  const auto begin = Clock::now();
  const Outcome out = run(tool, "yes 'a line of the flood'");
  EXPECT_NE(out.text.find("timed out after 1 seconds"), std::string::npos);
  EXPECT_NE(out.text.find("<response clipped>"), std::string::npos);
  EXPECT_LT(out.text.size(), 18'000u);
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - begin).count() + 1;
  EXPECT_LE(n_streamed_, 10 * seconds + 2);  // ten times a second, and the last
  EXPECT_LE(std::filesystem::file_size(state_.at("outputs/bash-0001.txt")), SpillFile::kBytesMax);
}
TEST_F(Bash, BackgroundJobsLiveOnAndTheirOutputIsTold) {
  EXPECT_EQ(
      run("(until [ -e go ]; do sleep 0.02; done; echo from the job; touch done) & echo started")
          .text,
      "started\n");
  EXPECT_THAT(run("touch go; until [ -e done ]; do sleep 0.02; done").text,
              ::testing::StartsWith("from the job\n"));  // and perhaps of its end
  run("(until [ -e go2 ]; do sleep 0.02; done; echo later; touch done2) &");
  dir_.write("go2", "");
  while (!std::filesystem::exists(dir_.at("done2"))) ::usleep(10'000);
  EXPECT_THAT(run("echo now").text,
              ::testing::StartsWith(
                  "later\n[so far: output of background jobs since the last command]\nnow\n"));
}
TEST_F(Bash, MarksCannotBeForged) {
  const Outcome out = run("printf '\\036deadbeefdeadbeefdeadbeef:0\\036\\n'; echo after; false");
  EXPECT_EQ(out.text, "deadbeefdeadbeefdeadbeef:0\nafter\n[exit code: 1]");
  EXPECT_EQ(run("exec 3>&1 >/dev/null 2>&1; echo hidden").text, "");
  EXPECT_EQ(run("exec >&3 2>&1; echo back").text, "back\n");
}
TEST_F(Bash, CancelKillsTheTreeAndIsAnError) {
  asio::cancellation_signal signal;
  bool ended = false;
  Result<Outcome> out = Outcome{};
  auto running = tool_.run({{"command", "echo $$ > pid; touch up; sleep 60"}}, {});
  asio::co_spawn(io_, std::move(running),
                 asio::bind_cancellation_slot(
                     signal.slot(), [&](std::exception_ptr thrown, Result<Outcome> result) {
                       EXPECT_FALSE(thrown);
                       ended = true;
                       out = std::move(result);
                     }));
  asio::steady_timer timer(io_);
  std::function<void()> poll = [&] {
    if (std::filesystem::exists(dir_.at("up"))) return signal.emit(asio::cancellation_type::total);
    timer.expires_after(std::chrono::milliseconds(10));
    timer.async_wait([&](boost::system::error_code) { poll(); });
  };
  poll();
  io_.run();
  ASSERT_TRUE(ended);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, Errc::cancelled);
  EXPECT_TRUE(dies(std::atoi(dir_.read("pid").c_str())));
  EXPECT_EQ(run("echo again").text, std::string(kNew) + "again\n");
}
// At every turn of the io loop from the call's first on: while the sandbox is probed, while the
// launcher starts, while it runs.
TEST_F(Bash, CancelAtAnyMomentOfTheLaunchIsACancellation) {
  auto sandboxed = options();
  sandboxed.no_sandbox = false;
  int moment = 0;
  for (int ended = 0; !std::filesystem::exists(dir_.at("up")); ++moment, ended = 0) {
    SCOPED_TRACE(moment);
    BashTool tool(io_.get_executor(), sandboxed);
    asio::cancellation_signal signal;
    Result<Outcome> out = Outcome{};
    auto running = tool.run({{"command", "touch up; sleep 60"}}, {});
    asio::co_spawn(io_, std::move(running),
                   asio::bind_cancellation_slot(
                       signal.slot(), [&](std::exception_ptr thrown, Result<Outcome> result) {
                         EXPECT_FALSE(thrown);
                         ++ended;
                         out = std::move(result);
                       }));
    io_.restart();
    for (int i = 0; i < moment && ended == 0; ++i) io_.run_one();
    if (ended > 0) GTEST_SKIP() << "no sandbox here: " << (out ? out->text : out.error().message);
    signal.emit(asio::cancellation_type::total);
    while (ended == 0) io_.run_one();
    ASSERT_FALSE(out) << out->text;
    EXPECT_EQ(out.error().code, Errc::cancelled);
  }
  EXPECT_GT(moment, 5);
  BashTool tool(io_.get_executor(), sandboxed);
  EXPECT_EQ(run(tool, "echo works").text, "works\n");  // and the probe that was cut off is not
                                                       // believed
}
TEST_F(Bash, CallsRunOneAfterTheOther) {
  int n = 0;
  std::string order;
  for (const char* command : {"sleep 0.2; echo 1", "echo 2"}) {
    auto running = tool_.run({{"command", command}}, {});
    asio::co_spawn(io_, std::move(running), [&](std::exception_ptr, Result<Outcome> result) {
      ++n;
      order += result ? result->text : "?";
    });
  }
  io_.run();
  EXPECT_EQ(n, 2);
  EXPECT_EQ(order, "1\n2\n");
}
TEST_F(Bash, UnusableArgumentsAreOutcomes) {
  for (const json& args : {json(nullptr), json::object(), json{{"command", 3}},
                           json{{"command", std::string("a\0b", 3)}}}) {
    const auto out = test::call(io_, tool_, args);
    ASSERT_TRUE(out);
    EXPECT_FALSE(out->ok);
  }
}
TEST_F(Bash, WithoutASandboxItSaysWhy) {
  BuiltinOptions none = options();
  none.no_sandbox = false;
  none.sandbox_launcher = "/nonexistent/lares-sandbox";
  BashTool tool(io_.get_executor(), none);
  const Outcome out = run(tool, "touch ran");
  EXPECT_FALSE(out.ok);
  EXPECT_TRUE(out.text.starts_with("commands are off, because no sandbox works here: "))
      << out.text;
  EXPECT_FALSE(std::filesystem::exists(dir_.at("ran")));
}
TEST_F(Bash, WorksInTheSandbox) {
  BuiltinOptions inside = options();
  inside.no_sandbox = false;
  std::string reason;
  asio::co_spawn(io_, shell_unavailable_reason(inside),
                 [&](std::exception_ptr, std::string why) { reason = std::move(why); });
  io_.run();
  if (!reason.empty()) GTEST_SKIP() << reason;
  dir_.write(".env", "TOKEN=1\n");
  BashTool tool(io_.get_executor(), inside);
  EXPECT_EQ(run(tool, "pwd; echo hi > made; cat made").text, dir_.root() + "\nhi\n");
  EXPECT_EQ(dir_.read("made"), "hi\n");
  EXPECT_EQ(run(tool, "cat .env").text.find("TOKEN"), std::string::npos);
  EXPECT_FALSE(run(tool, "echo x > /etc/lares-was-here").ok);
  EXPECT_EQ(run(tool, "exit 5").text, std::string("[shell exited: code 5]\n") + kReset);
}

class BashInside : public Bash {
 protected:
  BashInside() {
    if (reason().empty()) tool_in_.emplace(io_.get_executor(), inside());
  }
  BuiltinOptions inside(int timeout_ms = 30'000) const {
    BuiltinOptions out = options(timeout_ms);
    out.no_sandbox = false;
    return out;
  }
  std::string reason() {
    std::string out;
    const BuiltinOptions asked = inside();
    asio::co_spawn(io_, shell_unavailable_reason(asked),
                   [&](std::exception_ptr, std::string why) { out = std::move(why); });
    io_.restart();
    io_.run();
    return out;
  }
  std::optional<BashTool> tool_in_;
};

TEST_F(BashInside, WhatTheUserAddsIsHiddenFromAShellThatLives) {
  if (!tool_in_) GTEST_SKIP() << reason();
  dir_.write("sub/.env", "TOKEN=1\n");
  EXPECT_EQ(run(*tool_in_, "cd sub; x=kept; sleep 60 & echo on").text, "on\n");
  dir_.write("sub/.env.local", "TOKEN=2\n");
  dir_.write("new/id_rsa", "TOKEN=3\n");
  dir_.write(".aws/credentials", "TOKEN=4\n");
  const auto first = run(*tool_in_, "cat .env* ../new/id_rsa ../.aws/credentials; echo $x");
  EXPECT_EQ(first.text.find("TOKEN"), std::string::npos) << first.text;
  EXPECT_NE(first.text.find("\nkept\n"), std::string::npos) << first.text;
  EXPECT_NE(first.text.find("[from now on hidden from commands, for it may hold secrets: .aws, "
                            "new/id_rsa, sub/.env.local]"),
            std::string::npos)
      << first.text;
  // As editors save: what was mounted on the old file went with it.
  dir_.write("sub/.env~", "TOKEN=5\n");
  std::filesystem::rename(dir_.at("sub/.env~"), dir_.at("sub/.env"));
  EXPECT_EQ(run(*tool_in_, "cat .env ../sub/.env; jobs | grep -c Running").text, "1\n")
      << "and nothing is told twice";
  dir_.write("sub/.env", "TOKEN=6\n");
  EXPECT_EQ(run(*tool_in_, "cat .env; mv .env x; mv ../sub ../moved; cat ../moved/.env")
                .text.find("TOKEN"),
            std::string::npos);
}
TEST_F(BashInside, WhatTheUserSavesStaysReadOnlyAndWithoutCredentials) {
  if (!tool_in_) GTEST_SKIP() << reason();
  dir_.write(".git/HEAD", "ref: refs/heads/main\n");
  dir_.write(".mcp.json", "{}\n");
  EXPECT_EQ(run(*tool_in_, "cat .mcp.json; cd /tmp").text, "{}\n");
  for (const std::string name : {".git/config", ".mcp.json"}) {
    dir_.write(name + ".lock", "[remote \"o\"]\n\turl = https://me:TOKEN@example.com/x\n");
    std::filesystem::rename(dir_.at(name + ".lock"), dir_.at(name));
  }
  const std::string root = dir_.root();
  const auto config = run(*tool_in_, "cat " + root + "/.git/config");
  EXPECT_EQ(config.text.find("TOKEN"), std::string::npos) << config.text;
  EXPECT_FALSE(run(*tool_in_, "echo x >> " + root + "/.mcp.json").ok);
}
TEST_F(BashInside, ASocketThatAppearsOutsideIsNotReached) {
  if (!tool_in_) GTEST_SKIP() << reason();
  if (::geteuid() != 0) GTEST_SKIP() << "only root may make one where commands look";
  const std::string path = fmt::format("/var/lib/lares-test-{}", ::getpid());
  const std::string connect =
      "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"" + path + "\")'";
  EXPECT_FALSE(run(*tool_in_, connect).ok);
  sockaddr_un address{AF_UNIX, {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(server, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::chmod(path.c_str(), 0777), 0);
  ASSERT_EQ(::listen(server, 4), 0);
  const auto ran = run(*tool_in_, connect);
  EXPECT_FALSE(ran.ok);
  EXPECT_TRUE(ran.text.find("ConnectionRefusedError") != std::string::npos ||
              ran.text.find("PermissionError") != std::string::npos)
      << ran.text;
  ::close(server);
  ::unlink(path.c_str());
}
TEST_F(BashInside, WhatACommandMakesStaysItsOwn) {
  if (!tool_in_) GTEST_SKIP() << reason();
  dir_.write(".env.example", "TOKEN=\n");
  EXPECT_TRUE(run(*tool_in_, "cp .env.example .env").ok);
  EXPECT_EQ(run(*tool_in_, "cat .env; echo MORE=1 >> .env").text, "TOKEN=\n");
  EXPECT_EQ(run(*tool_in_, "cat .env").text, "TOKEN=\nMORE=1\n");
  dir_.write(".env", "TOKEN=the user filled it in\n");
  EXPECT_EQ(run(*tool_in_, "cat .env").text,
            "[from now on hidden from commands, for it may hold secrets: .env]");
}
TEST_F(BashInside, AFailureOnWhatIsKeptNamesIt) {
  if (!tool_in_) GTEST_SKIP() << reason();
  dir_.write("app/dist/.env", "TOKEN=1\n");
  dir_.write("app/dist/a.js", "");
  dir_.write(".git/HEAD", "ref: refs/heads/main\n");
  const auto removed = run(*tool_in_, "cd app; rm -rf dist; ls -A dist");
  EXPECT_TRUE(removed.text.ends_with(
      "\n.env\n[hidden, for it may hold secrets: app/dist/.env. No command can read, change, move "
      "or remove it, nor move or remove a directory that holds it; the user can.]"))
      << removed.text;
  EXPECT_EQ(dir_.read("app/dist/.env"), "TOKEN=1\n");
  EXPECT_NE(run(*tool_in_, "touch ../.git/index.lock").text.find("[.git is read-only"),
            std::string::npos);
  dir_.write("app/id_rsa", "TOKEN=2\n");
  EXPECT_NE(
      run(*tool_in_, "rm -f id_rsa").text.find("[hidden, for it may hold secrets: app/id_rsa."),
      std::string::npos);
}
TEST_F(BashInside, AHostThatIsNotListedIsTold) {
  if (!tool_in_) GTEST_SKIP() << reason();
  auto listed = inside();
  listed.network_allow = {"registry.example"};
  BashTool tool(io_.get_executor(), listed);
  const auto ran = run(tool,
                       "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT other.example:443 "
                       "HTTP/1.1\\r\\n\\r\\n' >&3; read -r _ status _ <&3; echo $status; exit");
  EXPECT_EQ(ran.text,
            std::string("403\n[shell exited: code 0]\n[not reached: other.example:443 (not "
                        "listed); only the user can list a host, in network_allow]\n") +
                kReset);
}
TEST_F(BashInside, WhatLaresKeepsInTheWorktreeIsOutOfReach) {
  if (!tool_in_) GTEST_SKIP() << reason();
  const test::Scratch config;  // elsewhere, with a link into the worktree
  const std::string there = dir_.at("dotfiles/lares"), later = dir_.at("not/yet/there");
  dir_.write("dotfiles/lares/hooks.json", "{}");
  dir_.write("linked.json", "{}");
  std::filesystem::create_symlink(dir_.at("linked.json"), config.at("hooks.json"));
  config.write("token", "TOKEN=1");
  for (const auto& own : {there, later, config.root()}) mark_as_own(own);
  const auto out = run(*tool_in_,
                       "for f in dotfiles/lares/hooks.json not/yet/there/hooks.json linked.json; "
                       "do echo evil > $f; done 2>/dev/null; mkdir -p not/yet/there; cat " +
                           config.at("token"));
  EXPECT_EQ(out.text.find("TOKEN"), std::string::npos) << out.text;
  EXPECT_EQ(dir_.read("dotfiles/lares/hooks.json"), "{}");
  EXPECT_EQ(dir_.read("linked.json"), "{}");
  EXPECT_TRUE(std::filesystem::exists(dir_.at("not/yet/there/.lares-own")));
  EXPECT_FALSE(std::filesystem::exists(dir_.at("not/yet/there/hooks.json")));
}
TEST_F(BashInside, WithoutAWholeSearchNothingRuns) {
  if (!tool_in_) GTEST_SKIP() << reason();
  std::string deep = dir_.root();
  for (int i = 0; i < 19; ++i) deep += "/" + std::string(200, 'd');
  EXPECT_EQ(run(*tool_in_, "echo on").text, "on\n");
  std::filesystem::create_directories(deep);
  for (int i = 0; i < 2; ++i) {
    const auto out = run(*tool_in_, "touch ran");
    EXPECT_FALSE(out.ok);
    EXPECT_NE(out.text.find("bytes (path_bytes_max), in which nothing can be hidden"),
              std::string::npos)
        << out.text;
  }
  BashTool fresh(io_.get_executor(), inside());
  EXPECT_FALSE(run(fresh, "touch ran").ok);
  EXPECT_FALSE(std::filesystem::exists(dir_.at("ran")));
  std::filesystem::remove_all(dir_.at(std::string(200, 'd')));
  EXPECT_EQ(run(*tool_in_, "echo on").text, "on\n");
}

constexpr const char* kRepository =
    "mkdir -p sub/.git/hooks sub/.git/objects sub/.git/refs; echo 'ref: refs/heads/main' > "
    "sub/.git/HEAD; ";
constexpr const char* kHook =
    "echo 'touch ran' > sub/.git/hooks/pre-commit; chmod +x sub/.git/hooks/pre-commit";
std::string told(const std::string& to = "") {
  return "[moved aside, because it could run programs outside the sandbox: "
         "sub/.git/hooks/pre-commit (a git hook) is now "
         "sub/.git/hooks/pre-commit.lares-quarantined" +
         to + ". If it is wanted, the user can move it back.]";
}

TEST_F(BashInside, WhatWouldRunOutsideIsMovedAsideAndTold) {
  if (!tool_in_) GTEST_SKIP() << reason();
  EXPECT_EQ(run(*tool_in_, kRepository).text, "");
  EXPECT_EQ(run(*tool_in_, std::string("echo made; ") + kHook).text, "made\n" + told());
  EXPECT_FALSE(std::filesystem::exists(dir_.at("sub/.git/hooks/pre-commit")));
  EXPECT_EQ(run(*tool_in_, "ls sub/.git/hooks").text, "pre-commit.lares-quarantined\n");
  // By what ends the shell, too.
  EXPECT_EQ(run(*tool_in_, std::string(kHook) + "; exit 5").text,
            "[shell exited: code 5]\n" + told(".2") + "\n" + kReset);
}
TEST_F(BashInside, WhatABackgroundJobLeavesIsSeenAtTheNextLook) {
  if (!tool_in_) GTEST_SKIP() << reason();
  dir_.write("job",
             std::string("while [ ! -e go ]; do sleep 0.01; done; ") + kHook + "; echo x > made\n");
  // Not among the shell's jobs: only its process tells that something may still write.
  EXPECT_EQ(run(*tool_in_, std::string(kRepository) + "(setsid sh job >/dev/null 2>&1 &)").text,
            "");
  EXPECT_EQ(run(*tool_in_, "true").text, "");
  dir_.write("go", "");
  for (int i = 0; i < 500 && !std::filesystem::exists(dir_.at("made")); ++i) ::usleep(10'000);
  EXPECT_EQ(run(*tool_in_, "true").text, told());
}
TEST_F(BashInside, WhatTheUserMakesBetweenCommandsStays) {
  if (!tool_in_) GTEST_SKIP() << reason();
  EXPECT_EQ(run(*tool_in_, kRepository).text, "");
  ASSERT_EQ(std::system(("cd " + dir_.root() + "; " + kHook).c_str()), 0);
  EXPECT_EQ(run(*tool_in_, "true").text, "");
  EXPECT_TRUE(std::filesystem::exists(dir_.at("sub/.git/hooks/pre-commit")));
}
TEST_F(BashInside, ATimeoutLeavesNoHook) {
  if (!tool_in_) GTEST_SKIP() << reason();
  BashTool tool(io_.get_executor(), inside(1500));
  const Outcome out = run(tool, std::string(kRepository) + kHook + "; sleep 60");
  EXPECT_TRUE(out.text.ends_with(told() + "\n" + kReset)) << out.text;
  EXPECT_FALSE(std::filesystem::exists(dir_.at("sub/.git/hooks/pre-commit")));
}

}  // namespace
}  // namespace lares::tools
