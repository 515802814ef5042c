// What `lares mcp` does with requests when the daemon is lost: line by line, without a socket.
#include "daemon/bridges/mcp/traffic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lares::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using Lines = std::vector<std::string>;

struct Pair {
  Lines heard;  // by the client
  McpTraffic traffic{
      "/repo", [this](std::string line) { heard.push_back(line.substr(0, line.size() - 1)); }};

  // What the daemon gets, at most so many lines.
  Lines sent(std::size_t n_max = 100) {
    Lines lines;
    while (lines.size() < n_max && !traffic.next().empty()) {
      std::string line(traffic.next());
      EXPECT_TRUE(line.ends_with('\n'));
      line.pop_back();
      lines.push_back(std::move(line));
      traffic.written();
    }
    EXPECT_TRUE(lines.size() == n_max || traffic.bytes_unwritten() == 0);
    return lines;
  }
  Lines told() { return std::exchange(heard, {}); }
  void handshake(const std::string& version = "2025-11-25") {
    traffic.from_client(kInitialize);
    traffic.connected();
    sent();
    traffic.from_daemon(R"({"jsonrpc":"2.0","id":0,"result":{"protocolVersion":")" + version +
                        R"("}})");
    traffic.from_client(kInitialized);
    sent(), told();
  }
  static constexpr const char* kInitialize =
      R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}})";
  static constexpr const char* kInitialized =
      R"({"jsonrpc":"2.0","method":"notifications/initialized"})";
};

const std::string kRoot =
    R"({"jsonrpc":"2.0","method":"notifications/lares/root","params":{"root":"/repo"}})";
const std::string kCall =
    R"({"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"run_task"}})";
const std::string kList = R"({"jsonrpc":"2.0","id":"l","method":"tools/list"})";

TEST(McpTraffic, BothSidesHearEachOtherWordForWord) {
  Pair p;
  p.traffic.from_client(kCall);
  EXPECT_TRUE(p.traffic.waits());
  p.traffic.connected();
  EXPECT_THAT(p.sent(), ElementsAre(kRoot, kCall));
  const std::string progress =
                        R"({"jsonrpc":"2.0",  "method":"notifications/progress","params":{}})",
                    answer = R"({"jsonrpc":"2.0","id":7,"result":{ }})";
  p.traffic.from_daemon(progress);
  p.traffic.from_daemon(answer);
  EXPECT_THAT(p.told(), ElementsAre(progress, answer));
  EXPECT_FALSE(p.traffic.waits());
  p.traffic.lost();
  EXPECT_THAT(p.told(), IsEmpty()) << "nothing was open";
}

TEST(McpTraffic, WhatCameOfACallIsNotKnownAndWhatChangesNothingIsAskedAgain) {
  Pair p;
  p.handshake();
  const std::string other = R"({"jsonrpc":"2.0","id":3,"method":"resources/list"})";
  for (const auto& line : {kList, kCall, other}) p.traffic.from_client(line);
  p.sent();
  p.traffic.lost();
  const auto told = p.told();
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_THAT(
      told[0],
      HasSubstr(
          R"("id":7,"error":{"code":-32603,"message":"tools/call: the daemon was lost before it answered, so what came of it is not known)"));
  p.traffic.connected();
  const auto sent = p.sent();
  ASSERT_THAT(sent, SizeIs(5));
  EXPECT_EQ(sent[0], kRoot);
  EXPECT_THAT(sent[1],
              HasSubstr(R"("method":"initialize","params":{"protocolVersion":"2025-11-25"})"));
  EXPECT_EQ(sent[2], Pair::kInitialized);
  EXPECT_EQ(sent[3], kList);
  EXPECT_EQ(sent[4], other);
  const auto id = mcp::server::Json::parse(sent[1])["id"].get<std::string>();
  p.traffic.from_daemon(R"({"jsonrpc":"2.0","id":")" + id +
                        R"(","result":{"protocolVersion":"2025-11-25"}})");
  EXPECT_THAT(p.told(), IsEmpty()) << "the bridge's own";
  EXPECT_EQ(p.traffic.broken(), "");
}

TEST(McpTraffic, ABatchIsSentOneByOneAndAnsweredTogether) {
  Pair p;
  const std::string batch = "[" + kCall + "," + kList + "," + Pair::kInitialized + ",{}]";
  p.handshake();
  p.traffic.from_client(batch);
  EXPECT_THAT(p.told(), ElementsAre(HasSubstr("batches are part of 2025-03-26 alone")));
  EXPECT_THAT(p.sent(), IsEmpty());

  Pair old;
  old.handshake("2025-03-26");
  old.traffic.from_client(batch);
  EXPECT_THAT(old.sent(), ElementsAre(kCall, kList, Pair::kInitialized));
  old.traffic.from_daemon(R"({"jsonrpc":"2.0","id":"l","result":{"tools":[]}})");
  EXPECT_THAT(old.told(), IsEmpty());
  old.traffic.lost();  // what came of the call is not known
  const auto told = old.told();
  ASSERT_THAT(told, SizeIs(1));
  const auto answers = mcp::server::Json::parse(told[0]);
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0]["error"]["code"], -32600);
  EXPECT_EQ(answers[1]["id"], "l");
  EXPECT_EQ(answers[2]["id"], 7);
  EXPECT_FALSE(old.traffic.waits());
}

TEST(McpTraffic, WhatIsCancelledOfABatchIsNotWaitedFor) {
  Pair p;
  p.handshake("2025-03-26");
  p.traffic.from_client("[" + kCall + "," + kList + "]");
  p.sent();
  p.traffic.from_daemon(R"({"jsonrpc":"2.0","id":"l","result":{"tools":[]}})");
  EXPECT_THAT(p.told(), IsEmpty());
  p.traffic.from_client(
      R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}})");
  EXPECT_THAT(p.told(), ElementsAre(R"([{"jsonrpc":"2.0","id":"l","result":{"tools":[]}}])"));
}

TEST(McpTraffic, WhatWasNotSentWaitsForTheNextDaemon) {
  Pair p;
  p.handshake();
  p.traffic.from_client(kList);
  p.traffic.from_client(kCall);
  EXPECT_THAT(p.sent(1), ElementsAre(kList));
  p.traffic.lost();
  EXPECT_THAT(p.told(), IsEmpty());
  EXPECT_TRUE(p.traffic.waits());
  p.traffic.connected();
  const auto sent = p.sent();
  ASSERT_THAT(sent, SizeIs(5));
  EXPECT_EQ(sent[3], kList);
  EXPECT_EQ(sent[4], kCall);
}

TEST(McpTraffic, AHandshakeThatWasNotAnsweredIsMadeAgainByItsOwnLine) {
  Pair p;
  p.traffic.from_client(Pair::kInitialize);
  p.traffic.connected();
  p.sent();
  p.traffic.lost();
  p.traffic.connected();
  EXPECT_THAT(p.sent(), ElementsAre(kRoot, Pair::kInitialize));
}

TEST(McpTraffic, ADaemonThatAgreesOnAnotherVersionBreaksTheSession) {
  for (const char* answer : {R"("result":{"protocolVersion":"2031-01-01"})",
                             R"("error":{"code":-32603,"message":"no"})"}) {
    Pair p;
    p.handshake();
    p.traffic.lost();
    p.traffic.connected();
    const auto id = mcp::server::Json::parse(p.sent().at(1))["id"].get<std::string>();
    p.traffic.from_daemon(R"({"jsonrpc":"2.0","id":")" + id + "\"," + answer + "}");
    EXPECT_THAT(p.traffic.broken(), HasSubstr("start this server again"));
    EXPECT_THAT(p.told(), IsEmpty());
  }
}

TEST(McpTraffic, WhatAnOldDaemonAskedIsClosedAndItsAnswerIsNobodys) {
  Pair p;
  p.handshake();
  p.traffic.from_daemon(
      R"({"jsonrpc":"2.0","id":"lares-1","method":"elicitation/create","params":{}})");
  p.told();
  p.traffic.lost();
  const auto told = p.told();
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_THAT(told[0],
              HasSubstr(R"("method":"notifications/cancelled","params":{"requestId":"lares-1")"));
  p.traffic.connected();
  p.sent();
  p.traffic.from_client(R"({"jsonrpc":"2.0","id":"lares-1","result":{"action":"accept"}})");
  EXPECT_THAT(p.sent(), IsEmpty());
  p.traffic.from_daemon(
      R"({"jsonrpc":"2.0","id":"lares-2","method":"elicitation/create","params":{}})");
  p.traffic.from_client(R"({"jsonrpc":"2.0","id":"lares-2","result":{"action":"accept"}})");
  EXPECT_THAT(p.sent(), SizeIs(1));
}

TEST(McpTraffic, WhatIsWatchedIsWatchedAtTheNextDaemon) {
  Pair p;
  p.handshake();
  const auto subscribe = [&](int id, const char* method, const char* uri) {
    p.traffic.from_client(R"({"jsonrpc":"2.0","id":)" + std::to_string(id) +
                          R"(,"method":"resources/)" + method + R"(","params":{"uri":")" + uri +
                          R"("}})");
    p.sent();
    p.traffic.from_daemon(R"({"jsonrpc":"2.0","id":)" + std::to_string(id) + R"(,"result":{}})");
  };
  subscribe(1, "subscribe", "x://1"), subscribe(2, "subscribe", "x://2"),
      subscribe(3, "unsubscribe", "x://1");
  p.told();
  p.traffic.lost();
  EXPECT_FALSE(p.traffic.waits());
  EXPECT_TRUE(p.traffic.listens());
  p.traffic.connected();
  const auto sent = p.sent();
  ASSERT_THAT(sent, SizeIs(4));
  EXPECT_THAT(sent[3], HasSubstr(R"("method":"resources/subscribe","params":{"uri":"x://2"})"));
}

TEST(McpTraffic, AListeningStreamGoesOnUnseen) {
  Pair p;
  const std::string listen =
      R"({"jsonrpc":"2.0","id":5,"method":"subscriptions/listen","params":{}})";
  const std::string acknowledged =
      R"({"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":5}}})";
  p.traffic.from_client(listen);
  p.traffic.connected();
  p.sent();
  p.traffic.from_daemon(acknowledged);
  EXPECT_THAT(p.told(), ElementsAre(acknowledged));
  EXPECT_FALSE(p.traffic.waits()) << "it starts no daemon";
  EXPECT_TRUE(p.traffic.listens());
  p.traffic.lost();
  p.traffic.connected();
  EXPECT_THAT(p.sent(), ElementsAre(kRoot, listen));
  p.traffic.from_daemon(acknowledged);
  EXPECT_THAT(p.told(), IsEmpty());
}

TEST(McpTraffic, WhoCancelsHearsNothingMore) {
  Pair p;
  p.handshake();
  const std::string cancel =
      R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}})";
  p.traffic.from_client(kCall);
  p.sent();
  p.traffic.from_client(cancel);
  EXPECT_THAT(p.sent(), ElementsAre(cancel));
  p.traffic.from_client(kList);
  p.traffic.from_client(kCall);
  p.traffic.from_client(cancel);  // before it was sent
  EXPECT_THAT(p.sent(), ElementsAre(kList));
  p.traffic.lost();
  EXPECT_THAT(p.told(), IsEmpty());
}

TEST(McpTraffic, WithoutADaemonWhoWaitsIsToldWhyAndAPingStartsNone) {
  Pair p;
  p.handshake();
  p.traffic.lost();
  p.traffic.from_client(R"({"jsonrpc":"2.0","id":9,"method":"ping"})");
  EXPECT_THAT(p.told(), ElementsAre(R"({"jsonrpc":"2.0","id":9,"result":{}})"));
  EXPECT_FALSE(p.traffic.waits());
  for (const bool sent : {false, true}) {  // the daemon goes before it has answered one
    p.traffic.connected();
    if (sent) p.sent();
    p.traffic.from_client(R"({"jsonrpc":"2.0","id":10,"method":"ping"})");
    if (sent) p.sent();
    p.traffic.lost();
    EXPECT_THAT(p.told(), ElementsAre(R"({"jsonrpc":"2.0","id":10,"result":{}})"));
    EXPECT_FALSE(p.traffic.waits());
  }
  p.traffic.from_client(kCall);
  p.traffic.from_client(kList);
  p.traffic.give_up("it does not start");
  const auto told = p.told();
  ASSERT_THAT(told, SizeIs(2));
  for (const auto& line : told) EXPECT_THAT(line, HasSubstr(": it does not start\"}}"));
  EXPECT_EQ(p.traffic.bytes_unwritten(), 0u);
  p.traffic.connected();
  for (const auto& line : p.sent()) EXPECT_THAT(line, Not(HasSubstr("tools/")));
}

TEST(McpTraffic, WhatMakesNoSenseIsAnsweredHere) {
  Pair p;
  p.traffic.from_client("nonsense");
  p.traffic.from_client(" \r");
  EXPECT_THAT(p.told(), ElementsAre(HasSubstr(R"("error":{"code":-32700)")));
  p.traffic.from_client(kCall);
  p.traffic.from_client(kCall);
  EXPECT_THAT(p.told(), ElementsAre(HasSubstr("the id 7 is that of a request that still runs")));
}

}  // namespace
}  // namespace lares::cli
