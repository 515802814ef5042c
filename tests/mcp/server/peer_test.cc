// One client's requests in both eras, through the endpoint.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/thread_pool.hpp>
#include <future>

#include "tests/mcp/server/client.h"

namespace lares::mcp::server::test {
namespace {

int code_of(const Json& answer) {
  return answer.contains("error") ? answer["error"]["code"].get<int>() : 0;
}

// ---- legacy

TEST(Legacy, AgreesOnTheAskedVersionOrOneBefore) {
  for (const auto& [asked, agreed] : {std::pair{"2025-11-25", "2025-11-25"},
                                      {"2025-06-18", "2025-06-18"},
                                      {"2025-03-26", "2025-03-26"},
                                      {"2024-11-05", "2024-11-05"},
                                      {"2024-10-07", "2025-11-25"},
                                      {"2031-01-01", "2025-11-25"}}) {
    Client c;
    const Json answer = c.initialize(Json::object(), asked);
    EXPECT_EQ(answer["result"]["protocolVersion"], agreed) << asked;
    EXPECT_EQ(answer["result"]["serverInfo"]["name"], "test");
    EXPECT_FALSE(answer["result"].contains("resultType")) << "only the modern era has it";
    EXPECT_EQ(answer["result"]["capabilities"]["resources"]["subscribe"], true);
    EXPECT_FALSE(answer["result"]["capabilities"].contains("prompts"));
  }
}

TEST(Legacy, NothingButPingBeforeInitialize) {
  Client c;
  EXPECT_EQ(code_of(c.ask("tools/list")), kInvalidRequest);
  EXPECT_EQ(c.ask("ping")["result"], Json::object());
  c.initialize();
  EXPECT_EQ(code_of(c.ask("tools/list")), 0);
  EXPECT_EQ(code_of(c.initialize()), kInvalidRequest) << "a second time";
}

TEST(Legacy, ANotificationHasNoAnswer) {
  Client c;
  c.initialize();
  const auto n = c.heard->messages.size();
  c.say({{"method", "notifications/unheard_of"}});
  c.say({{"method", "tools/list"}});
  EXPECT_EQ(c.heard->messages.size(), n);
}

TEST(Legacy, TheAnswersToABatchComeTogether) {
  Client c;
  c.initialize(Json::object(), "2025-03-26");
  const auto n = c.heard->messages.size();
  const auto say = [&](const char* text) {
    const bool answered = c.peer->receive_batch(std::make_shared<const Incoming>(parse_all(text)),
                                                c.heard);
    c.run();
    return answered;
  };
  EXPECT_TRUE(say(R"([{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wait"}},
    {"jsonrpc":"2.0","id":2,"method":"ping"},{"jsonrpc":"2.0","method":"x"},{"no":"message"},
    {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"wait"}}])"));
  EXPECT_EQ(c.heard->messages.size(), n) << "two still run";
  EXPECT_FALSE(
      say(R"([{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}])"));
  EXPECT_EQ(c.heard->messages.size(), n);
  c.say({{"method", "notifications/cancelled"}, {"params", {{"requestId", 3}}}});
  ASSERT_EQ(c.heard->messages.size(), n + 1);
  const Json& answers = c.heard->last();
  ASSERT_EQ(answers.size(), 2u) << "what was cancelled has none: " << answers;
  EXPECT_EQ(answers[0]["id"], 2);
  EXPECT_EQ(code_of(answers[1]), kInvalidRequest);
}

TEST(Legacy, WhatACallIsGivenIsNotCopiedAndLetGoOfWithIt) {
  Client c;
  c.initialize();
  const auto send = [&](const char* tool, int id) {
    const Json arguments = {{"many", Json::array({1, 2, 3})}};
    return std::make_shared<const Json>(
        Json{{"jsonrpc", "2.0"},
             {"id", id},
             {"method", "tools/call"},
             {"params", {{"name", tool}, {"arguments", arguments}}}});
  };
  auto message = send("wait", 71);
  std::weak_ptr<const Json> there = message;
  c.peer->receive(message, c.heard);
  c.run();
  EXPECT_EQ(c.offered.given, &(*message)["params"]["arguments"]);
  message = nullptr;
  EXPECT_FALSE(there.expired()) << "the call still runs";
  c.say({{"method", "notifications/cancelled"}, {"params", {{"requestId", 71}}}});
  EXPECT_TRUE(there.expired());
}

TEST(Legacy, OnlyOneVersionHasBatches) {
  Client c;
  const auto batch =
      std::make_shared<const Incoming>(parse_all(R"([{"jsonrpc":"2.0","id":1,"method":"ping"}])"));
  c.peer->receive_batch(batch, c.heard);
  EXPECT_EQ(code_of(c.heard->last()), kInvalidRequest) << "nor is there one before initialize";
  c.initialize();
  c.peer->receive_batch(batch, c.heard);
  EXPECT_EQ(code_of(c.heard->last()), kInvalidRequest);
}

TEST(Legacy, WhoFellSilentIsNotWaitedFor) {
  Client c;
  c.initialize({{"elicitation", Json::object()}});
  c.call("ask");
  const Json asked = c.heard->last();
  EXPECT_EQ(asked["method"], "elicitation/create");
  c.peer->falls_silent();
  c.run();
  EXPECT_EQ(c.said(c.heard->last()), "how " + std::to_string(Asked::gone));
  const auto n = c.heard->messages.size();
  EXPECT_EQ(c.said(c.call("ask")), "how " + std::to_string(Asked::gone));
  EXPECT_EQ(c.heard->messages.size(), n + 1) << "nor asked";
}

TEST(Legacy, ListsComeInPagesThatJoin) {
  Client c;
  c.offered.n_tools = 250;
  c.initialize();
  std::vector<std::string> names;
  Json params = Json::object();
  for (int pages = 0;; ++pages) {
    ASSERT_LT(pages, 10);
    const Json answer = c.ask("tools/list", params);
    ASSERT_EQ(code_of(answer), 0) << answer;
    for (const auto& tool : answer["result"]["tools"]) names.push_back(tool["name"]);
    if (!answer["result"].contains("nextCursor")) break;
    params["cursor"] = answer["result"]["nextCursor"];
  }
  ASSERT_EQ(names.size(), 250u);
  for (int i = 0; i < 250; ++i) EXPECT_EQ(names[i], "tool" + std::to_string(i));
  for (const Json& cursor :
       {Json("x"), Json("-100"), Json("101"), Json("300"), Json(""), Json(100), Json("100 ")}) {
    EXPECT_EQ(code_of(c.ask("tools/list", {{"cursor", cursor}})), kInvalidParams) << cursor;
  }
}

TEST(Legacy, ALongListIsLookedAtAPageAtATime) {
  for (const int n : {0, 1, 100, 101, 200, 250}) {
    Client c;
    c.offered.n_resources = n;
    c.initialize();
    int n_seen = 0, n_pages = 0;
    for (Json params = Json::object(); n_pages < 10;) {
      const Json answer = c.ask("resources/list", params);
      ASSERT_EQ(code_of(answer), 0) << answer;
      ++n_pages;
      for (const auto& one : answer["result"]["resources"])
        EXPECT_EQ(one["uri"], "x://" + std::to_string(n_seen++));
      if (!answer["result"].contains("nextCursor")) break;
      params["cursor"] = answer["result"]["nextCursor"];
    }
    EXPECT_EQ(n_seen, n);
    EXPECT_EQ(n_pages, std::max(1, (n + 99) / 100));
    EXPECT_LE(c.offered.n_most, kPageItemsMax + 1);
  }
}

TEST(Legacy, WhatIsUnknownIsToldApart) {
  Client c;
  c.initialize();
  EXPECT_EQ(code_of(c.call("nope")), kInvalidParams);
  EXPECT_EQ(code_of(c.ask("nope/nope")), kUnknownMethod);
  EXPECT_EQ(code_of(c.ask("prompts/list")), kUnknownMethod) << "not offered";
  EXPECT_EQ(code_of(c.ask("tools/call", {{"name", "echo"}, {"arguments", 3}})), kInvalidParams);
  EXPECT_EQ(code_of(c.ask("tools/call", {{"arguments", Json::object()}})), kInvalidParams);
  const Json thrown = c.call("throws");
  EXPECT_EQ(code_of(thrown), kInternal);
  EXPECT_EQ(thrown["error"]["message"], "tools/call: out of luck");
}

TEST(Legacy, ProgressOnlyGrowsAndOnlyWhereItIsAskedFor) {
  Client c;
  c.initialize();
  c.call("progress");
  EXPECT_EQ(c.heard->messages.size(), 2u) << "no token, no progress";
  c.heard->messages.clear();
  c.ask("tools/call", {{"name", "progress"}, {"_meta", {{"progressToken", "p"}}}});
  ASSERT_EQ(c.heard->messages.size(), 4u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(c.heard->messages[i]["params"]["progressToken"], "p");
    EXPECT_EQ(c.heard->messages[i]["params"]["progress"], (std::vector{1, 3, 4}[i]));
    EXPECT_EQ(c.heard->messages[i]["params"]["total"], 4);
  }
}

TEST(Legacy, LogsFromTheLevelThatWasSet) {
  Client c;
  c.initialize();
  EXPECT_EQ(c.ask("logging/setLevel", {{"level", "error"}})["result"], Json::object());
  EXPECT_EQ(code_of(c.ask("logging/setLevel", {{"level", "loud"}})), kInvalidParams);
  c.heard->messages.clear();
  c.call("log");
  ASSERT_EQ(c.heard->messages.size(), 2u);
  EXPECT_EQ(c.heard->messages[0]["params"]["level"], "error");
}

TEST(Legacy, WhoCancelsHearsNothingMore) {
  Client c;
  c.initialize();
  c.heard->messages.clear();
  c.ask("tools/call", {{"name", "wait"}, {"_meta", {{"progressToken", 1}}}});
  const int id = c.n;
  c.say({{"method", "notifications/cancelled"}, {"params", {{"requestId", 999}}}});
  EXPECT_EQ(c.offered.n_stopped, 0) << "another request";
  c.say({{"method", "notifications/cancelled"},
         {"params", {{"requestId", id}, {"reason", "no longer"}}}});
  EXPECT_EQ(c.offered.n_stopped, 1);
  EXPECT_TRUE(c.offered.last_cancelled);
  EXPECT_TRUE(c.heard->messages.empty());
}

TEST(Legacy, WhoLeavesIsToldApartFromWhoCancels) {
  Client c;
  c.initialize();
  c.call("wait");
  c.peer->left();
  c.run();
  EXPECT_EQ(c.offered.n_stopped, 1);
  EXPECT_FALSE(c.offered.last_cancelled);
}

TEST(Legacy, AnIdThatRunsIsNotTakenAgain) {
  Client c;
  c.initialize();
  c.say({{"id", "a"}, {"method", "tools/call"}, {"params", {{"name", "wait"}}}});
  c.say({{"id", "a"}, {"method", "ping"}});
  EXPECT_EQ(code_of(c.heard->last()), kInvalidRequest);
  c.say({{"method", "notifications/cancelled"}, {"params", {{"requestId", "a"}}}});
  c.say({{"id", "a"}, {"method", "ping"}});
  EXPECT_EQ(code_of(c.heard->last()), 0);
}

TEST(Legacy, SoManyRequestsRunAndNoMore) {
  Client c;
  c.initialize();
  for (std::size_t i = 0; i < kRequestsMax; ++i) c.call("wait");
  EXPECT_EQ(code_of(c.call("wait")), kInternal);
  EXPECT_EQ(c.endpoint.n_running(), kRequestsMax);
  c.peer->left();
  c.run();
  EXPECT_EQ(c.endpoint.n_running(), 0u);
}

TEST(Legacy, AQuestionIsARequestToTheClient) {
  Client c;
  c.initialize({{"elicitation", Json::object()}});
  const Json question = c.call("ask");
  EXPECT_EQ(question["method"], "elicitation/create");
  ASSERT_TRUE(question["id"].is_string());
  c.say({{"id", "never asked"}, {"result", {{"action", "accept"}}}});
  EXPECT_EQ(c.heard->last(), question);
  c.say(
      {{"id", question["id"]}, {"result", {{"action", "accept"}, {"content", {{"name", "me"}}}}}});
  EXPECT_EQ(c.said(c.heard->last()), R"({"action":"accept","content":{"name":"me"}}null)");
}

TEST(Legacy, AQuestionThatIsTakenBackIsClosedAtTheClient) {
  Client c;
  c.initialize({{"elicitation", Json::object()}});
  const Json question = c.call("ask");
  const int id = c.n;
  c.heard->messages.clear();
  c.offered.asking->withdraw("another");
  c.run();
  EXPECT_TRUE(c.heard->messages.empty());
  c.offered.asking->withdraw("who");
  c.run();
  ASSERT_EQ(c.heard->messages.size(), 2u);
  EXPECT_EQ(c.heard->messages[0]["method"], "notifications/cancelled");
  EXPECT_EQ(c.heard->messages[0]["params"]["requestId"], question["id"]);
  EXPECT_EQ(c.heard->messages[1]["id"], id);
  EXPECT_EQ(c.said(c.heard->messages[1]), "how " + std::to_string(Asked::withdrawn));
  c.say({{"id", question["id"]},
         {"result", {{"action", "accept"}, {"content", {{"name", "late"}}}}}});
  EXPECT_EQ(c.heard->messages.size(), 2u) << "the late answer is nobody's";
}

TEST(Legacy, WhoCancelsARequestHasItsQuestionsClosed) {
  Client c;
  c.initialize({{"elicitation", Json::object()}});
  const Json question = c.call("ask");
  c.heard->messages.clear();
  c.say({{"method", "notifications/cancelled"}, {"params", {{"requestId", c.n}}}});
  ASSERT_EQ(c.heard->messages.size(), 1u);
  EXPECT_EQ(c.heard->last()["method"], "notifications/cancelled");
  EXPECT_EQ(c.heard->last()["params"]["requestId"], question["id"]);
}

TEST(Legacy, QuestionsOfTwoConnectionsAreToldApart) {
  Client one, other;
  one.initialize({{"elicitation", Json::object()}});
  other.initialize({{"elicitation", Json::object()}});
  EXPECT_NE(one.call("ask")["id"], other.call("ask")["id"]);
}

TEST(Legacy, AnAnswerThatIsNoneIsAFailure) {
  for (const Json& answer : {Json{{"result", 3}}, Json{{"result", {{"action", "perhaps"}}}},
                             Json{{"result", {{"action", "accept"}, {"content", 3}}}},
                             Json{{"error", {{"code", -1}, {"message", "no"}}}}}) {
    Client c;
    c.initialize({{"elicitation", {{"form", Json::object()}}}});
    Json message = answer;
    message["id"] = c.call("ask")["id"];
    c.say(message);
    EXPECT_EQ(c.said(c.heard->last()), "how " + std::to_string(Asked::failed)) << answer;
  }
}

TEST(Legacy, WhoCannotBeAskedIsNot) {
  for (const Json& capabilities : {Json::object(), Json{{"sampling", Json::object()}},
                                   Json{{"elicitation", {{"url", Json::object()}}}}}) {
    Client c;
    c.initialize(capabilities);
    EXPECT_EQ(c.said(c.call("ask")), "how " + std::to_string(Asked::impossible)) << capabilities;
  }
}

TEST(Legacy, WatchedResourcesAndListsAreTold) {
  Client c;
  c.initialize();
  EXPECT_EQ(c.ask("resources/subscribe", {{"uri", "x://1"}})["result"], Json::object());
  c.heard->messages.clear();
  c.endpoint.resource_updated("x://1");
  c.endpoint.resource_updated("x://2");
  c.endpoint.tools_changed();
  ASSERT_EQ(c.heard->messages.size(), 2u);
  EXPECT_EQ(c.heard->messages[0]["params"]["uri"], "x://1");
  EXPECT_EQ(c.heard->messages[1]["method"], "notifications/tools/list_changed");
  c.ask("resources/unsubscribe", {{"uri", "x://1"}});
  c.heard->messages.clear();
  c.endpoint.resource_updated("x://1");
  EXPECT_TRUE(c.heard->messages.empty());
}

// ---- modern

TEST(Modern, DiscoverSaysWhatThereIs) {
  Client c;
  const Json result = c.modern("server/discover")["result"];
  EXPECT_EQ(result["resultType"], "complete");
  EXPECT_EQ(result["supportedVersions"], Json::array({"2026-07-28"}));
  EXPECT_EQ(result["instructions"], "how to use it");
  EXPECT_EQ(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "test");
  EXPECT_GE(result["ttlMs"].get<int>(), 0);
  EXPECT_EQ(result["cacheScope"], "private");
}

TEST(Modern, EveryRequestSaysItsVersionAndWhatItsClientCan) {
  Client c;
  EXPECT_EQ(code_of(c.ask("server/discover")), kInvalidParams);
  EXPECT_EQ(c.heard->status, 400);
  EXPECT_EQ(
      code_of(c.ask("tools/list",
                    {{"_meta", {{"io.modelcontextprotocol/protocolVersion", "2026-07-28"}}}})),
      kInvalidParams);
  EXPECT_EQ(
      code_of(c.ask("tools/list",
                    {{"_meta", {{"io.modelcontextprotocol/clientCapabilities", Json::object()}}}})),
      kInvalidParams);
  const Json answer = c.ask("tools/list",
                            {{"_meta",
                              {{"io.modelcontextprotocol/protocolVersion", "v9"},
                               {"io.modelcontextprotocol/clientCapabilities", Json::object()}}}});
  EXPECT_EQ(code_of(answer), kUnsupportedVersion);
  EXPECT_EQ(answer["error"]["data"],
            (Json{{"supported", Json::array({"2026-07-28"})}, {"requested", "v9"}}));
}

TEST(Modern, WhatWasRemovedIsUnknown) {
  Client c;
  for (const char* method :
       {"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}) {
    EXPECT_EQ(code_of(c.modern(
                  method, {{"uri", "x"}, {"level", "info"}, {"protocolVersion", "2025-11-25"}})),
              kUnknownMethod)
        << method;
    EXPECT_EQ(c.heard->status, 404);
  }
}

TEST(Modern, BothErasInterleaveOnOneConnection) {
  Client c;
  EXPECT_EQ(code_of(c.modern("tools/list")), 0);
  c.initialize({{"elicitation", Json::object()}});
  EXPECT_EQ(c.call("ask")["method"], "elicitation/create");
  EXPECT_EQ(c.modern("tools/call", {{"name", "ask"}},
                     {{"elicitation", Json::object()}})["result"]["resultType"],
            "input_required");
  EXPECT_FALSE(c.ask("tools/list")["result"].contains("resultType"));
}

TEST(Modern, LogsOnlyForARequestThatAsksForThem) {
  Client c;
  c.modern("tools/call", {{"name", "log"}});
  EXPECT_EQ(c.heard->messages.size(), 1u);
  c.modern("tools/call",
           {{"name", "log"}, {"_meta", {{"io.modelcontextprotocol/logLevel", "info"}}}});
  EXPECT_EQ(c.heard->messages.size(), 4u);
}

TEST(Modern, AQuestionIsTheAnswerAndIsAskedAnew) {
  Client c;
  const Json can = {{"elicitation", Json::object()}};
  const Json asked = c.modern("tools/call", {{"name", "ask"}}, can)["result"];
  EXPECT_EQ(asked["resultType"], "input_required");
  EXPECT_EQ(asked["inputRequests"]["who"]["method"], "elicitation/create");
  const std::string state = asked["requestState"];
  const Json answers = {{"who", {{"action", "decline"}}}, {"nobody asked", 3}};
  EXPECT_EQ(c.said(c.modern("tools/call",
                            {{"name", "ask"}, {"inputResponses", answers}, {"requestState", state}},
                            can)),
            R"({"action":"decline"}{"round":1})");
  // Without its answer, or with one that is none, it is asked again.
  for (const Json& wrong : {Json::object(), Json{{"whom", {{"action", "decline"}}}},
                            Json{{"who", 12345}}, Json{{"who", {{"action", "maybe"}}}}}) {
    EXPECT_EQ(c.modern("tools/call", {{"name", "ask"}, {"inputResponses", wrong}},
                       can)["result"]["resultType"],
              "input_required")
        << wrong;
  }
  EXPECT_EQ(code_of(c.modern("tools/call", {{"name", "ask"}, {"inputResponses", nullptr}}, can)),
            kInvalidParams);
}

TEST(Modern, AStateIsTakenOnlyAsItWasGivenForThisRequest) {
  Client c;
  const Json can = {{"elicitation", Json::object()}};
  const std::string state = c.modern("tools/call",
                                     {{"name", "ask"}, {"arguments", {{"a", 1}, {"b", 2}}}},
                                     can)["result"]["requestState"];
  const Json answers = {{"who", {{"action", "cancel"}}}};
  const auto again = [&](const std::string& with, Json arguments) {
    return code_of(c.modern("tools/call",
                            {{"name", "ask"},
                             {"arguments", std::move(arguments)},
                             {"inputResponses", answers},
                             {"requestState", with}},
                            can));
  };
  EXPECT_EQ(again(state, {{"b", 2}, {"a", 1}}), 0) << "the order of keys is the client's";
  EXPECT_EQ(again(state, {{"a", 1}}), kInvalidParams);
  EXPECT_EQ(again(state + "-TAMPERED", {{"a", 1}, {"b", 2}}), kInvalidParams);
  EXPECT_EQ(again("", {{"a", 1}, {"b", 2}}), kInvalidParams);
  Client other;
  EXPECT_EQ(
      code_of(other.modern(
          "tools/call",
          {{"name", "ask"}, {"arguments", {{"a", 1}, {"b", 2}}}, {"requestState", state}}, can)),
      kInvalidParams)
      << "another daemon's";
}

// A request may have a million values: while they are copied and printed others are answered.
TEST(Modern, WhatAStateIsOfIsComparedAside) {
  asio::thread_pool aside(1);
  std::promise<void> hold;
  const auto until_then = [held = hold.get_future().share()] { held.wait(); };
  const Json can = {{"elicitation", Json::object()}};
  Client c(&aside);
  asio::post(aside, until_then);
  c.modern("tools/call", {{"name", "ask"}}, can);
  EXPECT_TRUE(c.heard->messages.empty());
  EXPECT_TRUE(c.modern("tools/list")["result"].contains("tools"));
  hold.set_value();
  const auto wait = [&c] { c.io.restart(), c.io.run(); };
  wait();
  const std::string state = c.heard->last()["result"]["requestState"];
  hold = std::promise<void>();
  asio::post(aside, [held = hold.get_future().share()] { held.wait(); });
  const Json answers = {{"who", {{"action", "decline"}}}};
  c.modern("tools/call", {{"name", "ask"}, {"inputResponses", answers}, {"requestState", state}},
           can);
  EXPECT_EQ(c.heard->messages.size(), 2u);
  hold.set_value();
  wait();
  EXPECT_EQ(c.said(c.heard->last()), R"({"action":"decline"}{"round":1})");
  // Who gives up meanwhile is not worked for.
  hold = std::promise<void>();
  asio::post(aside, [held = hold.get_future().share()] { held.wait(); });
  c.offered.given = nullptr;
  c.modern("tools/call", {{"name", "ask"}, {"inputResponses", answers}, {"requestState", state}},
           can);
  c.peer->give_up(c.n);
  hold.set_value();
  wait();
  EXPECT_EQ(c.offered.given, nullptr);
  EXPECT_EQ(c.peer->n_running(), 0u);
}

TEST(Modern, ListeningBeginsWithWhatIsHeardAndIsTagged) {
  Client c;
  c.modern("subscriptions/listen", {{"notifications",
                                     {{"toolsListChanged", true},
                                      {"promptsListChanged", true},
                                      {"resourceSubscriptions", Json::array({"x://1"})}}}});
  const int id = c.n;
  ASSERT_EQ(c.heard->messages.size(), 1u);
  EXPECT_EQ(c.heard->last()["method"], "notifications/subscriptions/acknowledged");
  EXPECT_EQ(c.heard->last()["params"]["notifications"],
            (Json{{"toolsListChanged", true}, {"resourceSubscriptions", Json::array({"x://1"})}}))
      << "no prompts are offered";
  c.endpoint.resources_changed();
  c.endpoint.resource_updated("x://2");
  EXPECT_EQ(c.heard->messages.size(), 1u);
  c.endpoint.tools_changed();
  c.endpoint.resource_updated("x://1");
  ASSERT_EQ(c.heard->messages.size(), 3u);
  for (const Json& message : c.heard->messages)
    EXPECT_EQ(message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], id);
  c.say({{"method", "notifications/cancelled"}, {"params", {{"requestId", id}}}});
  c.endpoint.tools_changed();
  EXPECT_EQ(c.heard->messages.size(), 3u);
}

TEST(Modern, AClosedStreamIsACancel) {
  Client c;
  c.modern("tools/call", {{"name", "wait"}});
  c.peer->give_up(c.n);
  c.run();
  EXPECT_TRUE(c.offered.last_cancelled);
  EXPECT_TRUE(c.heard->messages.empty());
}

}  // namespace
}  // namespace lares::mcp::server::test
