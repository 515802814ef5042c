// The MCP client: what servers offer, and what they answer.
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <future>

#include "tests/mcp/mcp_case.h"

namespace lares::mcp {
namespace {

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

// Which a command of the sandbox, or who wrote the repository, may have put there: `python3 -m
// json` takes ./json.py, npx ./node_modules/.bin and ./.npmrc.
TEST_F(Mcp, NothingOfTheRepositoryIsTakenForAServer) {
  const auto path = (dir_ / ".mcp.json").string();
  std::ofstream(path) << json{{"mcpServers",
                               {{"scripted",
                                 {{"command", "python3"},
                                  {"args", {"-m", "server"}},
                                  {"env", {{"PYTHONPATH", LARES_SOURCE_DIR "/tests/mcp"}}}}}}}};
  const auto mark = dir_ / "ran", bin = dir_ / "bin", start = dir_ / "start";
  std::ofstream(dir_ / "server.py") << "open('" << mark.string() << "', 'w')";
  std::filesystem::create_directory(bin);
  std::ofstream(bin / "python3") << "#!/bin/sh\n: > " << mark.string();
  std::filesystem::permissions(bin / "python3", std::filesystem::perms::owner_all);
  const std::string before = std::getenv("PATH");
  ::setenv("PATH", (bin.string() + ":" + before).c_str(), 1);
  tools_ = make_mcp_tools(io_.get_executor(), {.root = dir_.string(),
                                               .start = start.string(),
                                               .config_path = path,
                                               .launcher = LARES_LAUNCHER});
  const auto answer = call("env").text;
  ::setenv("PATH", before.c_str(), 1);
  EXPECT_FALSE(std::filesystem::exists(mark)) << answer;
  EXPECT_EQ(json::parse(answer, nullptr, false)["cwd"], start.string()) << answer;
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

TEST_F(Mcp, ForReadingCallsWhatTheServerSaysOnlyReads) {
  use("good");
  tools::Tool* const reading = tools_[1]->for_reading();
  const auto args = [](const char* tool) {
    return json{{"server", "scripted"}, {"tool", tool}, {"arguments", {{"text", "hello"}}}};
  };
  EXPECT_TRUE(reading->mutates(args("echo"))) << "it is not listed yet, so nobody was asked";
  EXPECT_THAT(run(*reading, args("echo")).text,
              HasSubstr("had not said yet that this tool only reads; now it has, so send the call "
                        "again"));
  EXPECT_EQ(run(*reading, args("add")).text,
            "mcp_call scripted add: it was not called, for this turn changes nothing, and the "
            "server does not say that this tool only reads (readOnlyHint)");
  EXPECT_EQ(run(*reading, args("echo")).text, "hello");
  EXPECT_TRUE(reading->mutates(args("add")));
  EXPECT_FALSE(reading->mutates(args("echo")));
  EXPECT_EQ(run(*reading, args("nothing")).text,
            "mcp_call scripted nothing: there is no such tool");
  EXPECT_EQ(n_logged("tools/call"), 1);
  EXPECT_TRUE(tools_[1]->mutates(args("echo")));
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

TEST_F(Mcp, AServerMayMakeStringsOfNumbers) {
  use("string_ids");
  EXPECT_EQ(call("echo", {{"text", "known by its string"}}).text, "known by its string");
  std::string shown;
  const json args{{"server", "scripted"}, {"tool", "progress"}, {"arguments", json::object()}};
  EXPECT_EQ(run(*tools_[1], args, [&](std::string_view text) { shown += text; }).text,
            "progressed");
  EXPECT_THAT(shown, HasSubstr("step"));
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

TEST_F(Mcp, AListThatEndsWithAnEmptyCursorIsReadOnce) {
  use("empty_cursor");
  const auto found = search("").text;
  for (const char* const offer : {"memo 0", "memo 1", "memo 2", "prompts/get: greet"})
    EXPECT_EQ(found.find(offer), found.rfind(offer)) << found;
  EXPECT_THAT(found, AllOf(HasSubstr("memo 0"), HasSubstr("memo 1"), HasSubstr("memo 2"),
                           HasSubstr("prompts/get: greet")));
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

TEST_F(Mcp, AMessageOfTooManyValuesEndsTheServer) {
  limits_.line_bytes = Limits{}.line_bytes;
  use("good");
  EXPECT_THAT(call("numbers", {{"n", 1'000'000}}).text, HasSubstr("[cut: 1984001 more bytes"));
  EXPECT_THAT(call("numbers", {{"n", 1 << 20}}).text,
              HasSubstr("the server sent a message that is not read: it has more than 1048576 "
                        "values; it was ended"));
  EXPECT_EQ(call("echo", {{"text", "again"}}).text, "again");
}

// The server ends behind its answer, which takes longer to be read than its last words are waited
// for.
TEST_F(Mcp, KeepsNobodyWaitingWhileALongAnswerIsRead) {
  boost::asio::thread_pool threads(1);
  limits_.threads = &threads;
  limits_.line_bytes = Limits{}.line_bytes;
  use("good");
  std::promise<void> go_on;
  boost::asio::post(threads, [&] { go_on.get_future().wait(); });
  std::optional<Result<Outcome>> result;
  boost::asio::co_spawn(io_,
                        tools_[1]->run({{"server", "scripted"},
                                        {"tool", "numbers"},
                                        {"arguments", {{"n", 100'000}, {"last", true}}}},
                                       {}),
                        [&](std::exception_ptr, Result<Outcome> r) { result = std::move(r); });
  wait_for_log("numbers sent");
  io_.run_for(std::chrono::seconds(1));
  EXPECT_FALSE(result);
  go_on.set_value();
  while (!result && io_.run_one() > 0) {
  }
  ASSERT_TRUE(result && *result);
  EXPECT_THAT((*result)->text, HasSubstr("[cut: 184001 more bytes"))
      << (*result)->text.substr(0, 200);
  tools_.clear();
  io_.run_for(std::chrono::milliseconds(100));
  threads.join();
}

TEST_F(Mcp, AMessageOf15MegabytesIsReadAndOneOf17IsNot) {
  limits_.line_bytes = Limits{}.line_bytes;
  use("good");
  EXPECT_THAT(call("big", {{"n", "15000000"}}).text, HasSubstr("[cut: 14984000 more bytes"));
  EXPECT_THAT(call("big", {{"n", "17000000"}}).text,
              HasSubstr("the server sent a line longer than 16777216 bytes, and was ended"));
}

}  // namespace
}  // namespace lares::mcp
