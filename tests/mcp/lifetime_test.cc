// The MCP client: servers that start, hang, die and are ended, while calls wait for them.
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/detached.hpp>
#include <thread>

#include "tests/mcp/mcp_case.h"

namespace lares::mcp {
namespace {

bool alive(pid_t pid) {
  if (::kill(pid, 0) != 0) return false;
  std::string text;
  // One that ends meanwhile has none
  std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat"), text);
  const auto after_name = text.rfind(") ");
  // a zombie waits for whoever adopted it
  return after_name != std::string::npos && text[after_name + 2] != 'Z';
}

TEST_F(Mcp, DeathInACallIsToldWithItsLastWords) {
  use("good");
  const auto died = call("die");
  EXPECT_FALSE(died.ok);
  EXPECT_EQ(
      died.text,
      "mcp_call scripted die: the server died: exit status 3; its last words:\nout of cheese");
  EXPECT_EQ(call("echo", {{"text", "back"}}).text, "back");
  EXPECT_EQ(n_starts(), 2);
}

TEST_F(Mcp, RepeatedDeathIsAnsweredWithABackoff) {
  limits_.backoff_ms = 60'000;
  use("exit");
  EXPECT_THAT(call("echo").text,
              HasSubstr("died: exit status 1; its last words:\ncannot find my database"));
  EXPECT_THAT(call("echo").text, HasSubstr("died: exit status 1"));
  EXPECT_THAT(call("echo").text,
              HasSubstr("is started again in 60 s at the earliest: it ended 2 times in a row"));
  EXPECT_EQ(n_starts(), 4);  // each time with discovery, and with a handshake
}

TEST_F(Mcp, AServerThatCannotStartSaysWhy) {
  use(Config{{{"scripted", "no-such-program-here", "", {}, {}}}, {}});
  EXPECT_EQ(call("x").text,
            "mcp_call scripted x: the server could not be started: execute no-such-program-here: "
            "No such file or directory");
  use(Config{{{"scripted", "python3", "no-such-directory", {}, {}}}, {}});
  EXPECT_THAT(call("x").text,
              HasSubstr("could not be started: chdir " + dir_.string() + "/no-such-directory"));
  use("future");
  EXPECT_THAT(search("").text, HasSubstr("[scripted speaks MCP version \"2999-01-01\""));
  use("refuse");
  EXPECT_THAT(search("").text, HasSubstr("[scripted refused to start: error -32000: no licence]"));
}

TEST_F(Mcp, SilenceEndsAfterTheTimeout) {
  limits_.start_timeout_ms = 200;
  use("silent");
  EXPECT_THAT(search("").text, HasSubstr("[scripted did not answer initialize within 0.2 s]"));
  limits_.start_timeout_ms = 20'000;
  limits_.call_timeout_ms = 200;
  use("good");
  EXPECT_THAT(call("hang").text, HasSubstr("did not answer tools/call within 0.2 s"));
  EXPECT_THAT(search("echo").text,
              HasSubstr("scripted echo"));  // the connection lives on, and read what was before:
  wait_for_log("\"method\":\"notifications/cancelled\"");
}

TEST_F(Mcp, AServerThatHangsKeepsNobodyFromTheOthers) {
  limits_.search_patience_ms = 300;
  auto silent = server("silent");
  silent.name = "silent";
  use(Config{{server("good"), silent}, {}});
  const auto found = search("echo").text;
  EXPECT_THAT(found, StartsWith("scripted echo"));
  EXPECT_THAT(found, HasSubstr("[silent has not answered yet; search again for what it offers]"));
  EXPECT_EQ(call("echo", {{"text", "hello"}}).text, "hello");
  EXPECT_THAT(search("echo").text, HasSubstr("[silent has not answered yet"));
}

TEST_F(Mcp, TheLoopMayEndWhileAServerStarts) {
  boost::asio::io_context loop;
  auto tools = make_tools(loop.get_executor(), {dir_.string(), LARES_LAUNCHER},
                          Config{{server("silent")}, {}}, {}, limits_);
  boost::asio::co_spawn(loop, tools[0]->run(json::object(), {}), boost::asio::detached);
  while (n_starts() == 0) loop.run_for(std::chrono::milliseconds(20));
  tools.clear();
}

TEST_F(Mcp, CancellingACallTellsTheServer) {
  use("good");
  search("");
  boost::asio::cancellation_signal cancel;
  std::optional<Result<Outcome>> result;
  boost::asio::co_spawn(
      io_,
      tools_[1]->run({{"server", "scripted"}, {"tool", "hang"}, {"arguments", json::object()}}, {}),
      boost::asio::bind_cancellation_slot(cancel.slot(),
                                          [&](std::exception_ptr thrown, Result<Outcome> r) {
                                            EXPECT_FALSE(thrown);
                                            result = std::move(r);
                                          }));
  wait_for_log("hanging");
  cancel.emit(boost::asio::cancellation_type::terminal);
  while (!result && io_.run_one() > 0) {
  }
  ASSERT_TRUE(result && !*result);
  EXPECT_EQ(result->error().code, tools::Errc::cancelled);
  EXPECT_THAT(search("echo").text, HasSubstr("scripted echo"));
  wait_for_log("\"reason\":\"cancelled\"");
}

TEST_F(Mcp, CallsAtOnceShareOneServer) {
  use("good");
  int n_done = 0;
  for (int i = 0; i < 5; ++i) {
    const auto text = std::to_string(i);
    json args{{"server", "scripted"}, {"tool", "echo"}, {"arguments", {{"text", text}}}};
    boost::asio::co_spawn(io_, tools_[1]->run(args, {}),
                          [&n_done, text](std::exception_ptr, Result<Outcome> r) {
                            ASSERT_TRUE(r);
                            EXPECT_EQ(r->text, text);
                            ++n_done;
                          });
  }
  io_.restart();
  while (n_done < 5 && io_.run_one() > 0) {
  }
  EXPECT_EQ(n_done, 5);
  EXPECT_EQ(n_starts(), 1);
}

// The first start fails, and whoever wakes first begins the next one while the others look.
TEST_F(Mcp, CallsAtOnceAreNotTakenForCancelledWhenTheStartFails) {
  use("exit");
  std::vector<std::string> answers;
  for (int i = 0; i < 4; ++i) {
    json args{{"server", "scripted"}, {"tool", "echo"}, {"arguments", json::object()}};
    boost::asio::co_spawn(
        io_, tools_[1]->run(args, {}), [&](std::exception_ptr thrown, Result<Outcome> r) {
          answers.push_back(thrown ? "thrown" : r ? r->text : "ERROR: " + r.error().message);
        });
  }
  io_.restart();
  while (answers.size() < 4 && io_.run_one() > 0) {
  }
  EXPECT_THAT(answers, testing::SizeIs(4));
  EXPECT_THAT(answers, testing::Each(testing::AnyOf(HasSubstr("died: exit status 1"),
                                                    HasSubstr("is started again in"))));
}

// Of two that wait for a slow start one is cancelled: that one alone.
TEST_F(Mcp, WhoeverIsCancelledWhileTheServerStartsIsToldAndTheOtherGoesOn) {
  limits_.probe_timeout_ms = limits_.start_timeout_ms = 300;
  use("silent");
  boost::asio::cancellation_signal cancel;
  std::vector<std::string> answers;
  for (int i = 0; i < 3; ++i) {
    json args{{"server", "scripted"}, {"tool", "echo"}, {"arguments", json::object()}};
    const auto done = [&, i](std::exception_ptr thrown, Result<Outcome> r) {
      answers.push_back(std::to_string(i) + (thrown ? "thrown"
                                             : r    ? r->text
                                             : r.error().code == tools::Errc::cancelled
                                                 ? "cancelled"
                                                 : "ERROR: " + r.error().message));
    };
    if (i == 1)
      boost::asio::co_spawn(io_, tools_[1]->run(args, {}),
                            boost::asio::bind_cancellation_slot(cancel.slot(), done));
    else
      boost::asio::co_spawn(io_, tools_[1]->run(args, {}), done);
  }
  io_.poll();  // the first waits for the server's word, the others for the first
  EXPECT_TRUE(answers.empty());
  cancel.emit(boost::asio::cancellation_type::terminal);
  io_.restart();
  while (answers.size() < 3 && io_.run_one() > 0) {
  }
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0], "1cancelled");
  EXPECT_THAT(answers[1] + answers[2], Not(HasSubstr("ancelled")));
}

// "detached": its helper is in a session of its own, and whoever started that is gone.
TEST_F(Mcp, TheWholeProcessTreeEndsWithTheTools) {
  for (const char* mode : {"child", "detached", "stubborn"}) {
    SCOPED_TRACE(mode);
    std::filesystem::remove(log_path());
    use(mode);
    search("");
    const auto pids = pids_in_log();
    ASSERT_EQ(pids.size(), mode == std::string("stubborn") ? 1u : 2u);
    for (const pid_t pid : pids) EXPECT_TRUE(alive(pid));
    tools_.clear();
    // CTest's timeout ends a wait for what never comes
    while (alive(pids.front()) || alive(pids.back())) {
      io_.restart();
      io_.run_for(std::chrono::milliseconds(20));
    }
  }
}

TEST_F(Mcp, WhatADeadServerHasDetachedEndsWithIt) {
  use("detached");
  search("");
  const auto pids = pids_in_log();
  ASSERT_EQ(pids.size(), 2u);
  EXPECT_TRUE(alive(pids.back()));
  EXPECT_EQ(
      call("die").text,
      "mcp_call scripted die: the server died: exit status 3; its last words:\nout of cheese");
  EXPECT_FALSE(alive(pids.back()));
}

TEST_F(Mcp, AServerHasTimeToEndByItself) {
  use("tidy");
  search("");
  tools_.clear();
  wait_for_log("tidied up");
}

// What a server has started must not outlive a daemon that was killed and could do nothing about
// it.
TEST_F(Mcp, TheTreeEndsWhenTheDaemonIsKilled) {
  int pids[2];
  ASSERT_EQ(::pipe(pids), 0);
  const pid_t daemon = ::fork();
  if (daemon == 0) {
    const ServerConfig sleeper{
        "sleeper",
        "sh",
        "",
        {"-c", "setsid sh -c 'sleep 1000 > /dev/null & echo $!'; sleep 1000"},
        {}};
    const auto child = start_child(sleeper, {"/", LARES_LAUNCHER});
    char digits[32] = {};
    for (ssize_t n = -1; child && n <= 0;) n = ::read(child->out, digits, sizeof digits - 1);
    [[maybe_unused]] const auto n = ::write(pids[1], digits, sizeof digits);
    ::pause();
  }
  char digits[32] = {};
  ASSERT_EQ(::read(pids[0], digits, sizeof digits), static_cast<ssize_t>(sizeof digits));
  const pid_t grandchild = std::stoi(digits);
  EXPECT_TRUE(alive(grandchild));
  ::kill(daemon, SIGKILL);
  ::waitpid(daemon, nullptr, 0);
  while (alive(grandchild)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

TEST_F(Mcp, DeathInEveryStateIsToldAndSurvived) {
  use("good");
  EXPECT_THAT(call("half").text, HasSubstr("the server died: exit status 4"));
  EXPECT_EQ(call("echo", {{"text", "back"}}).text, "back");
  EXPECT_THAT(call("orphan").text, HasSubstr("the server died: exit status 5"));
  EXPECT_EQ(call("echo", {{"text", "back"}}).text, "back");
  EXPECT_THAT(call("mute").text, HasSubstr("the server closed its output, and was ended"));
  EXPECT_EQ(call("echo", {{"text", "back"}}).text, "back");
}

TEST_F(Mcp, ProgressExtendsACallButNotForEver) {
  limits_.call_timeout_ms = 300;
  limits_.call_timeout_max_ms = 20'000;
  use("good");
  search("");
  EXPECT_EQ(call("progress").text, "progressed");  // takes 660 ms
  EXPECT_THAT(call("stuck").text, HasSubstr("did not answer tools/call within"));
  limits_.call_timeout_max_ms = 900;
  use("good");
  search("");
  EXPECT_THAT(call("racing").text, HasSubstr("did not answer tools/call within 0.9 s"));
}

}  // namespace
}  // namespace lares::mcp
