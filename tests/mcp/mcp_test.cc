// The MCP client against a scripted server over real pipes: what it must understand, and what it
// must survive.
#include "mcp/mcp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "mcp/process.h"
#include "mcp/tools.h"

namespace lares::mcp {
namespace {

using nlohmann::json;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using tools::Outcome;
using tools::Result;
using Clock = std::chrono::steady_clock;

class Mcp : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);  // as in the daemon: a server may be gone when it is written to
    std::string name = (std::filesystem::temp_directory_path() / "lares-mcp-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = std::filesystem::canonical(name);
    limits_.start_timeout_ms = limits_.list_timeout_ms = limits_.call_timeout_ms = 20'000;
    limits_.line_bytes = 1 << 20;
    limits_.backoff_ms = 50;
  }
  void TearDown() override {
    tools_.clear();
    io_.restart();
    io_.run_for(std::chrono::seconds(5));  // what was cancelled comes back
    std::filesystem::remove_all(dir_);
  }

  std::string log_path() const { return (dir_ / "log").string(); }
  std::string log() const {
    std::ifstream file(log_path());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // The server writes its log when it comes to it; CTest's timeout ends a wait for what never
  // comes.
  void wait_for_log(const std::string& text) {
    io_.restart();
    while (log().find(text) == std::string::npos) io_.run_for(std::chrono::milliseconds(20));
  }
  int n_starts() const {
    const auto text = log();
    int n = 0;
    for (auto at = text.find("start "); at != std::string::npos; at = text.find("start ", at + 1))
      ++n;
    return n;
  }
  std::vector<pid_t> pids_in_log() const {
    std::vector<pid_t> pids;
    std::istringstream lines(log());
    for (std::string word; lines >> word;) {
      if (word != "start" && word != "child") continue;
      lines >> word;
      pids.push_back(std::stoi(word));
    }
    return pids;
  }
  ServerConfig server(const std::string& mode) const {
    return {
        "scripted", "python3", "", {LARES_SOURCE_DIR "/tests/mcp/server.py", mode, log_path()}, {}};
  }
  void use(const std::string& mode) { use(Config{{server(mode)}, {}}); }
  void use(Config config) {
    tools_ = make_tools(io_.get_executor(), {dir_.string(), LARES_LAUNCHER}, std::move(config),
                        elicit_, limits_);
  }

  Outcome run(tools::Tool& tool, json args) {
    std::optional<Result<Outcome>> result;
    boost::asio::co_spawn(io_, tool.run(std::move(args), {}),
                          [&](std::exception_ptr thrown, Result<Outcome> r) {
                            if (thrown) std::rethrow_exception(thrown);
                            result = std::move(r);
                          });
    io_.restart();
    while (!result && io_.run_one() > 0) {
    }
    if (!result) return {.text = "never finished", .ok = false, .changes = {}};
    if (!*result) return {.text = "ERROR: " + result->error().message, .ok = false, .changes = {}};
    return std::move(**result);
  }
  Outcome search(const std::string& query) { return run(*tools_[0], {{"query", query}}); }
  Outcome call(const std::string& tool, json arguments = json::object()) {
    return run(*tools_[1],
               {{"server", "scripted"}, {"tool", tool}, {"arguments", std::move(arguments)}});
  }

  std::filesystem::path dir_;
  Limits limits_;
  Elicit elicit_;
  boost::asio::io_context io_;
  std::vector<std::unique_ptr<tools::Tool>> tools_;
};

bool alive(pid_t pid) {
  if (::kill(pid, 0) != 0) return false;
  std::string text;
  std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat"), text);  // one that ends
                                                                                // meanwhile has
                                                                                // none
  const auto after_name = text.rfind(") ");
  return after_name != std::string::npos && text[after_name + 2] != 'Z';  // a zombie waits for
                                                                          // whoever adopted it
}

TEST_F(Mcp, WithoutServersBothToolsSaySoInOneLine) {
  tools_ = make_mcp_tools(io_.get_executor(),
                          {.root = dir_.string(), .config_path = (dir_ / ".mcp.json").string()});
  ASSERT_EQ(tools_.size(), 2u);
  EXPECT_EQ(tools_[0]->spec().name, "mcp_search");
  EXPECT_EQ(tools_[1]->spec().name, "mcp_call");
  EXPECT_EQ(search("x").text, "no MCP servers are configured");
  EXPECT_EQ(call("x").text, "no MCP servers are configured");
  EXPECT_FALSE(call("x").ok);
  for (const auto& tool : tools_) EXPECT_TRUE(json::parse(tool->spec().schema).is_object());
}

TEST_F(Mcp, TheConfigurationFileNamesServersAndItsFaultsAreNamed) {
  const auto path = (dir_ / ".mcp.json").string();
  json config{{"mcpServers",
               {{"scripted",
                 {{"command", "python3"},
                  {"args", {LARES_SOURCE_DIR "/tests/mcp/server.py"}},
                  {"env", {{"EXTRA", "yes"}}},
                  {"cwd", "sub"}}},
                {"old", {{"type", "sse"}, {"url", "http://localhost/"}}},
                {"empty", json::object()}}}};
  std::ofstream(path) << config;
  std::filesystem::create_directory(dir_ / "sub");
  ::setenv("LARES_TEST_SECRET", "x", 1);
  tools_ = make_mcp_tools(io_.get_executor(),
                          {.root = dir_.string(), .config_path = path, .launcher = LARES_LAUNCHER});
  const auto seen = json::parse(call("env").text);
  EXPECT_EQ(seen["cwd"], (dir_ / "sub").string());
  EXPECT_EQ(seen["extra"], "yes");
  EXPECT_THAT(seen["env"].dump(), HasSubstr("PATH"));
  EXPECT_THAT(seen["env"].dump(), Not(HasSubstr("LARES_TEST_SECRET")));
  const auto found = search("echo").text;
  EXPECT_THAT(found, HasSubstr("server old in " + path + ": has the type \"sse\""));
  EXPECT_THAT(found, HasSubstr("server empty in " + path + ": has no \"command\""));
}

TEST_F(Mcp, SearchStartsTheServerAndListsEveryPage) {
  use("good");
  EXPECT_EQ(n_starts(), 0);
  const auto all = search("");
  EXPECT_TRUE(all.ok);
  for (const char* name :
       {"add", "ask", "die", "echo", "env", "fail", "grow", "hang", "long", "picture"}) {
    EXPECT_THAT(all.text, HasSubstr(std::string("scripted ") + name + ": "));
  }
  EXPECT_EQ(search("add NUMBERS").text,
            "scripted add: Adds two numbers\n"
            "  "
            "{\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"string\"}},\"type\":"
            "\"object\"}\n"
            "scripted grow: Adds a tool\n  {\"properties\":{},\"type\":\"object\"}\n");
  EXPECT_EQ(search("zebra").text,
            "no tool matches \"zebra\"; there are\nscripted: add, ask, die, echo, env, fail, grow, "
            "hang, long, picture\n");
  EXPECT_EQ(n_starts(), 1);
  EXPECT_THAT(log(), HasSubstr("\"method\":\"notifications/initialized\""));
}

TEST_F(Mcp, CallReturnsTextsAndErrors) {
  use("good");
  EXPECT_EQ(call("echo", {{"text", "hello\nworld"}}).text, "hello\nworld");
  const auto failed = call("fail");
  EXPECT_FALSE(failed.ok);
  EXPECT_EQ(failed.text, "it went wrong");
  EXPECT_EQ(call("picture").text, "see\n[image image/png, 4 bytes in base64]\ninner");
  const auto unknown = call("nothing");
  EXPECT_FALSE(unknown.ok);
  EXPECT_EQ(unknown.text, "mcp_call scripted nothing: error -32602: no such tool: nothing");
  const auto cut = call("long").text;
  EXPECT_LT(cut.size(), 16'100u);
  EXPECT_THAT(cut, HasSubstr("\xc3\xa9[cut: 24000 more bytes; ask for less]"));
  EXPECT_EQ(
      run(*tools_[1], {{"server", "other"}, {"tool", "x"}, {"arguments", json::object()}}).text,
      "mcp_call: no server other; there are scripted");
  EXPECT_EQ(run(*tools_[1], json::array()).text, "mcp_call: `server` must be a string");
  EXPECT_EQ(run(*tools_[1], {{"server", "scripted"}, {"tool", "x"}, {"arguments", 1}}).text,
            "mcp_call: `arguments` must be an object");
}

TEST_F(Mcp, PingIsAnsweredAndOtherRequestsAreRefused) {
  use("good");
  const auto answers = json::parse(call("ask").text);
  EXPECT_EQ(answers[0], json::parse(R"({"jsonrpc":"2.0","id":"p-1","result":{}})"));
  EXPECT_EQ(answers[1]["id"], 77);
  EXPECT_EQ(answers[1]["error"]["code"], -32601);
  EXPECT_EQ(answers[1]["error"]["message"], "this client offers no sampling/createMessage");
}

TEST_F(Mcp, AChangedToolListIsAskedForAgain) {
  use("good");
  EXPECT_THAT(search("").text, Not(HasSubstr("grown")));
  EXPECT_EQ(call("grow").text, "grown");
  EXPECT_THAT(search("grown").text, HasSubstr("scripted grown: Came later"));
}

TEST_F(Mcp, LinesThatAreNoMessagesAreIgnored) {
  for (const char* mode : {"garbage", "deep", "binary", "wrong_id"}) {
    SCOPED_TRACE(mode);
    use(mode);
    EXPECT_EQ(call("echo", {{"text", "still here"}}).text, "still here");
    EXPECT_THAT(search("echo").text, HasSubstr("scripted echo"));
  }
}

TEST_F(Mcp, AServerMayPrintALineWithEveryCall) {
  use("garbage");
  for (int i = 0; i < 40; ++i)
    EXPECT_EQ(call("echo", {{"text", "still here"}}).text, "still here") << i;
  EXPECT_EQ(n_starts(), 1);
}

TEST_F(Mcp, ToomuchGarbageEndsTheServer) {
  use("flood");
  EXPECT_THAT(call("echo").text,
              HasSubstr("the server sent 101 lines that are no JSON-RPC, and was ended"));
}

TEST_F(Mcp, AHugeLineEndsTheServer) {
  use("huge");
  EXPECT_THAT(search("").text,
              HasSubstr("[scripted sent a line longer than 1048576 bytes, and was ended]"));
  EXPECT_EQ(call("echo", {{"text", "again"}}).text, "again");  // by a fresh process
  EXPECT_EQ(n_starts(), 2);
}

TEST_F(Mcp, OddListsDoNoHarm) {
  use("same_cursor");
  EXPECT_THAT(search("").text, StartsWith("scripted echo"));
  use("odd_tools");
  EXPECT_EQ(search("").text, "scripted ok: \n  \"?\"\n");
  use("no_tools");
  EXPECT_EQ(search("").text,
            "no tool is available\n[scripted answered tools/list without \"tools\"]\n");
}

TEST_F(Mcp, AServerOfResourcesAloneIsOfUse) {
  use("resources");
  EXPECT_EQ(search("memo").text,
            "scripted resources/read: one: The first memo\n  {\"uri\":\"memo://one\"}\n");
  EXPECT_EQ(call("resources/read", {{"uri", "memo://one"}}).text, "text of memo://one");
  EXPECT_THAT(log(), Not(HasSubstr("tools/list")));
  use("undeclared");
  EXPECT_THAT(search("echo").text, StartsWith("scripted echo"));
}

TEST_F(Mcp, WhatIsLeftOutOfAnOfferIsShownWhenItAloneIsLookedFor) {
  use("wide");
  const auto all = search("one").text;
  EXPECT_THAT(all, HasSubstr("[cut: 630 more bytes; search for its name alone]\n  [a schema of "));
  EXPECT_THAT(all, HasSubstr(" bytes: search for scripted wide-too alone to see it]\n"));
  EXPECT_THAT(all, Not(HasSubstr("end of")));
  const auto one = [](const std::string& name) {
    return "scripted " + name + ": A wide one " + std::string(1000, 'd') +
           " end of description\n  {\"properties\":{\"x\":{\"description\":\"" +
           std::string(6000, 's') + " end of schema\",\"type\":\"string\"}},\"type\":\"object\"}\n";
  };
  // The named one comes first and whole, whatever else matches.
  EXPECT_THAT(search("wide").text, StartsWith(one("wide") + "scripted wide-too: A wide one ddd"));
  EXPECT_THAT(search("Scripted WIDE").text, StartsWith(one("wide") + "scripted wide-too: "));
  EXPECT_EQ(search("\"wide-too\"").text.find(one("wide-too")), 0u);
  EXPECT_EQ(search("scripted wide-too").text.find(one("wide-too")), 0u);
}

TEST_F(Mcp, WhatMatchesAloneIsShownWhole) {
  auto config = server("good");
  config.name = "small";
  use(Config{{config, server("wide")}, {}});
  const auto one = search("vas").text;  // of no tool the name
  EXPECT_THAT(one, StartsWith("scripted vast: A wide one ddd"));
  EXPECT_THAT(one, HasSubstr(" end of schema\"")) << "the description makes room";
  EXPECT_THAT(one, HasSubstr("ddd[cut: "));
  EXPECT_GT(one.size(), kOutputBytesMax - 100);
  EXPECT_LE(one.size(), kOutputBytesMax);
  const auto cut = search("imme").text;
  EXPECT_THAT(cut, HasSubstr("sss[cut: "));
  EXPECT_GT(cut.size(), kOutputBytesMax - 100);
  EXPECT_LE(cut.size(), kOutputBytesMax);
}

TEST_F(Mcp, OffersOfOneNameShareTheOutput) {
  for (const std::size_t n : {2, 5}) {
    Config config;
    for (std::size_t i = 0; i < n; ++i) {
      config.servers.push_back(server("wide"));
      config.servers.back().name = std::string("s") + std::to_string(i);
    }
    use(std::move(config));
    const auto found = search("wide").text;
    EXPECT_EQ(found.find("s0 wide: "), 0u);
    const auto last = found.find(std::string("\ns") + std::to_string(n - 1) + " wide: ");
    ASSERT_NE(last, std::string::npos);
    if (n == 2)
      EXPECT_NE(found.find("end of schema", last), std::string::npos);
    else  // too many for any of them
      EXPECT_NE(found.find("search for s4 wide alone to see it]", last), std::string::npos);
  }
}

TEST_F(Mcp, AListThatIsCutSaysSo) {
  use("tools_2001");
  EXPECT_THAT(
      search("").text,
      EndsWith("[scripted: its tools go on after the first 2000; the rest is not offered]\n"));
  use("pages");
  EXPECT_THAT(
      search("").text,
      EndsWith("[scripted: its tools go on after the first 100; the rest is not offered]\n"));
  use("tools_2000");
  EXPECT_THAT(search("").text, Not(HasSubstr("go on after")));
}

TEST_F(Mcp, AnErrorWithoutAnIdIsToldWhenTheAnswerStaysAway) {
  limits_.call_timeout_ms = 200;
  use("unread");
  EXPECT_THAT(call("echo").text,
              HasSubstr("did not answer tools/call within 0.2 s; of a message that it does not "
                        "name it said: error -32700: what is this"));
  use("good");
  EXPECT_THAT(call("hang").text, Not(HasSubstr("it said")));
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
    while (alive(pids.front()) || alive(pids.back())) {  // CTest's timeout ends a wait for what
                                                         // never comes
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

TEST_F(Mcp, AMessageOf15MegabytesIsReadAndOneOf17IsNot) {
  limits_.line_bytes = Limits{}.line_bytes;
  use("good");
  EXPECT_THAT(call("big", {{"n", "15000000"}}).text, HasSubstr("[cut: 14984000 more bytes"));
  EXPECT_THAT(call("big", {{"n", "17000000"}}).text,
              HasSubstr("the server sent a line longer than 16777216 bytes, and was ended"));
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

TEST_F(Mcp, ALegacyServerThatKnowsNoDiscoveryGetsAHandshake) {
  limits_.probe_timeout_ms = 200;
  for (const char* mode : {"good", "shy"}) {
    SCOPED_TRACE(mode);
    std::filesystem::remove(log_path());
    use(mode);
    EXPECT_EQ(call("echo", {{"text", "hello"}}).text, "hello");
    EXPECT_THAT(log(), HasSubstr("\"method\":\"initialize\""));
    EXPECT_THAT(log(), Not(HasSubstr("notifications/cancelled"))) << "before the handshake";
    EXPECT_EQ(n_starts(), 1);
  }
}

// As those of the official Rust SDK do.
TEST_F(Mcp, ALegacyServerThatEndsAtDiscoveryGetsAHandshakeInTheSameCall) {
  limits_.backoff_ms = 60'000;
  use("fragile");
  EXPECT_THAT(search("echo").text, StartsWith("scripted echo"));
  EXPECT_EQ(n_starts(), 2);
  EXPECT_THAT(call("die").text, HasSubstr("died: exit status 3"));
  // The only death of two, or it would wait; and the handshake comes first from now on.
  EXPECT_EQ(call("echo", {{"text", "hello"}}).text, "hello");
  EXPECT_EQ(n_starts(), 3);
}

TEST_F(Mcp, ThePersonIsAskedAndTheRootIsTold) {
  std::vector<std::string> questions;
  elicit_ = [&](std::string question) -> boost::asio::awaitable<std::optional<std::string>> {
    questions.push_back(question);
    std::optional<std::string> answer = questions.size() == 1 ? "many" : "3";
    co_return answer;
  };
  use("good");
  const auto answered = json::parse(call("elicit").text);
  EXPECT_EQ(answered["id"], "e-1");
  EXPECT_EQ(answered["result"], json::parse(R"({"action": "accept", "content": {"count": 3}})"));
  ASSERT_EQ(questions.size(), 2u);
  EXPECT_THAT(questions[0],
              StartsWith("The MCP server scripted asks: How many?\ncount\na whole number"));
  EXPECT_THAT(questions[1], HasSubstr("That does not fit."));
  const auto roots = json::parse(call("roots").text)["result"]["roots"];
  ASSERT_EQ(roots.size(), 1u);
  EXPECT_EQ(roots[0]["uri"], "file://" + dir_.string());
  EXPECT_THAT(log(), HasSubstr("\"elicitation\":{"));
}

TEST_F(Mcp, WithoutAPersonNoElicitationIsOffered) {
  use("good");
  EXPECT_EQ(json::parse(call("elicit").text)["error"]["code"], -32601);
  EXPECT_THAT(log(), Not(HasSubstr("\"elicitation\"")));
}

TEST_F(Mcp, AQuestionThatTheServerTakesBackIsNotAnswered) {
  boost::asio::steady_timer forever(io_, Clock::time_point::max());
  bool asked = false, left = false;
  elicit_ = [&](std::string) -> boost::asio::awaitable<std::optional<std::string>> {
    asked = true;
    auto [ec] = co_await forever.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    left = ec == boost::asio::error::operation_aborted;
    std::optional<std::string> nothing;
    co_return nothing;
  };
  use("good");
  EXPECT_EQ(call("elicit", {{"withdraw", true}}).text, "withdrawn");
  EXPECT_EQ(call("echo", {{"text", "on"}}).text, "on");
  EXPECT_TRUE(asked && left);
  EXPECT_THAT(log(), Not(HasSubstr("\"id\":\"e-1\"")));
}

TEST_F(Mcp, ThePersonIsAskedToOpenAnUrlThatACallNeeds) {
  std::vector<std::string> questions;
  std::string says = "yes";
  elicit_ = [&](std::string question) -> boost::asio::awaitable<std::optional<std::string>> {
    questions.push_back(question);
    std::optional<std::string> answer = says;
    co_return answer;
  };
  use("good");
  EXPECT_EQ(call("login").text, "logged in");
  ASSERT_EQ(questions.size(), 1u);
  EXPECT_THAT(questions[0], StartsWith("The MCP server scripted asks: Log in\nOpen "
                                       "https://example.org/0?n=1 in a browser"));
  use("good");
  EXPECT_EQ(
      call("login", {{"times", 5}}).text,
      "mcp_call scripted login: error -32042: not yet; before it is called again the user has "
      "to open https://example.org/0?n=2 (Log in)");
  EXPECT_EQ(questions.size(), 2u) << "repeated once";
  questions.clear();
  use("good");
  EXPECT_EQ(call("login", {{"urls", 2}}).text, "logged in");
  EXPECT_EQ(questions.size(), 2u);
  questions.clear(), says = "no";
  use("good");
  EXPECT_EQ(
      call("login", {{"urls", 2}}).text,
      "mcp_call scripted login: error -32042: not yet; before it is called again the user has "
      "to open https://example.org/0?n=1 (Log in), https://example.org/1?n=1 (Log in); asked, "
      "the user did not say yes");
  EXPECT_EQ(questions.size(), 1u);
}

TEST_F(Mcp, WithoutAPersonTheModelIsToldOfTheUrlThatACallNeeds) {
  use("good");
  const auto failed = call("login");
  EXPECT_FALSE(failed.ok);
  EXPECT_EQ(
      failed.text,
      "mcp_call scripted login: error -32042: not yet; before it is called again the user has "
      "to open https://example.org/0?n=1 (Log in)");
  EXPECT_EQ(call("login").text, "logged in");  // so it was called once before
  use("good");
  EXPECT_THAT(call("login", {{"urls", 20}}).text,
              EndsWith("https://example.org/7?n=1 (Log in) and 12 more"));
}

TEST_F(Mcp, WhatIsNoUrlIsPutToNobody) {
  int n_questions = 0;
  elicit_ = [&](std::string) -> boost::asio::awaitable<std::optional<std::string>> {
    ++n_questions;
    std::optional<std::string> answer = "yes";
    co_return answer;
  };
  for (const char* data :
       {"5", "{}", R"({"elicitations": {}})", R"({"elicitations": [5, {}]})",
        R"({"elicitations": [{"mode": "url", "url": "https://example.org/\nand much more"}]})",
        R"({"elicitations": [{"mode": "form", "url": "https://example.org/"}]})"}) {
    use("good");
    EXPECT_EQ(call("login", {{"data", json::parse(data)}}).text,
              "mcp_call scripted login: error -32042: not yet")
        << data;
  }
  EXPECT_EQ(n_questions, 0);
  use("good");
  const auto text = call("login", {{"times", 5}, {"urls", 20}}).text;
  EXPECT_EQ(n_questions, 8);
  EXPECT_THAT(text, EndsWith("https://example.org/7?n=2 (Log in) and 12 more"));
}

TEST_F(Mcp, ACallThatIsCancelledWhileAnUrlIsOpenIsNotRepeated) {
  boost::asio::steady_timer forever(io_, Clock::time_point::max());
  bool asked = false;
  elicit_ = [&](std::string) -> boost::asio::awaitable<std::optional<std::string>> {
    asked = true;
    co_await forever.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    std::optional<std::string> answer = "yes";
    co_return answer;
  };
  use("good");
  boost::asio::cancellation_signal cancel;
  std::optional<Result<Outcome>> result;
  boost::asio::co_spawn(
      io_,
      tools_[1]->run({{"server", "scripted"}, {"tool", "login"}, {"arguments", {{"urls", 2}}}}, {}),
      boost::asio::bind_cancellation_slot(cancel.slot(),
                                          [&](std::exception_ptr thrown, Result<Outcome> r) {
                                            EXPECT_FALSE(thrown);
                                            result = std::move(r);
                                          }));
  while (!asked && !result && io_.run_one() > 0) {
  }
  cancel.emit(boost::asio::cancellation_type::terminal);
  while (!result && io_.run_one() > 0) {
  }
  ASSERT_TRUE(result && !*result);
  EXPECT_EQ(result->error().code, tools::Errc::cancelled);
}

TEST_F(Mcp, AModernServerIsUsedWithoutAHandshake) {
  use("modern");
  EXPECT_EQ(call("echo", {{"text", "hello"}}).text, "hello");
  EXPECT_THAT(log(), Not(HasSubstr("initialize")));
  EXPECT_THAT(
      search("memo").text,
      HasSubstr("scripted resources/read: one: The first memo\n  {\"uri\":\"memo://one\"}\n"));
  EXPECT_THAT(search("memo").text, HasSubstr("{\"uri\":\"memo://{name}\"}"));
  EXPECT_THAT(search("greet").text,
              HasSubstr("scripted prompts/get: greet\n  {\"arguments\":{\"who\":\"whom "
                        "(required)\"},\"name\":\"greet\"}"));
  EXPECT_THAT(search("zebra").text, HasSubstr("2 resources, 1 prompts"));
  EXPECT_EQ(call("resources/read", {{"uri", "memo://two"}}).text, "text of memo://two");
  EXPECT_EQ(call("prompts/get", {{"name", "greet"}, {"arguments", {{"who", "world"}}}}).text,
            "user: hello world");
  EXPECT_THAT(call("odd").text,
              HasSubstr("answered tools/call with the result type \"task\", which is not known"));
}

TEST_F(Mcp, AModernServerThatRefusesTheVersionOnceIsAskedAgain) {
  use("modern_versions");
  EXPECT_EQ(call("echo", {{"text", "hello"}}).text, "hello");
  EXPECT_THAT(log(), Not(HasSubstr("initialize")));
  use("modern_future");
  EXPECT_THAT(call("echo").text, HasSubstr("error -32022: unsupported"));
  EXPECT_THAT(log(), Not(HasSubstr("initialize")));
}

TEST_F(Mcp, AModernServersChangesAreListenedTo) {
  use("modern");
  EXPECT_THAT(search("").text, Not(HasSubstr("grown")));
  wait_for_log("subscriptions/listen");
  EXPECT_EQ(call("grow").text, "grown");
  EXPECT_THAT(search("grown").text, HasSubstr("scripted grown: Came later"));
}

TEST_F(Mcp, ChangesOfPromptsAloneAreListenedTo) {
  use("modern_prompts");
  search("");
  wait_for_log("\"promptsListChanged\":true");
}

TEST_F(Mcp, ACallIsNotTheServersToCancel) {
  use("good");
  EXPECT_EQ(call("cancel_itself").text, "answered all the same");
}

TEST_F(Mcp, AToolThatRunsOnlyAsATaskIsNotOffered) {
  use("task_tools");
  const auto found = search("").text;
  EXPECT_THAT(found, HasSubstr("scripted optional: "));
  EXPECT_THAT(found, HasSubstr("scripted forbidden: "));
  EXPECT_THAT(found, Not(HasSubstr("required: ")));
  EXPECT_THAT(call("required").text, HasSubstr("the tool cannot be used: it runs only as a task"));
}

TEST_F(Mcp, AModernServerGetsItsInputByARetry) {
  elicit_ = [](std::string) -> boost::asio::awaitable<std::optional<std::string>> {
    std::optional<std::string> answer = "Ada";
    co_return answer;
  };
  use("modern");
  const auto seen = json::parse(call("form").text);
  EXPECT_EQ(seen["fresh"], true);
  EXPECT_EQ(seen["inputs"]["who"],
            json::parse(R"({"action": "accept", "content": {"name": "Ada"}})"));
  EXPECT_EQ(seen["inputs"]["where"]["roots"][0]["uri"], "file://" + dir_.string());
  EXPECT_THAT(call("endless").text,
              HasSubstr("asked for more input 16 times within one tools/call"));
  EXPECT_THAT(call("sampling").text,
              HasSubstr("asked for \"sampling/createMessage\", which is not offered to it"));
}

}  // namespace
}  // namespace lares::mcp
