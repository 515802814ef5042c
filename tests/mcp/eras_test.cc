// The MCP client: either era of the protocol, and what servers ask the person.
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "tests/mcp/mcp_case.h"

namespace lares::mcp {
namespace {

TEST_F(Mcp, ALegacyServerThatKnowsNoDiscoveryGetsAHandshake) {
  limits_.probe_timeout_ms = 200;
  for (const char* mode : {"good", "shy", "batches"}) {
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

TEST_F(Mcp, TheTimeThatAPersonTakesIsNotTheServers) {
  elicit_ = [&](std::string) -> boost::asio::awaitable<std::optional<std::string>> {
    boost::asio::steady_timer thinks(io_, std::chrono::milliseconds(2'700));
    co_await thinks.async_wait(boost::asio::use_awaitable);
    std::optional<std::string> answer = "3";
    co_return answer;
  };
  limits_.call_timeout_ms = 3'000;  // which the two are together beyond, and neither is alone
  limits_.call_timeout_max_ms = 60'000;
  use("good");
  search("");
  const auto text = call("elicit", {{"works_s", 1.0}}).text;
  EXPECT_THAT(text, HasSubstr(R"("action":"accept")"));
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
