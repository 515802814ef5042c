#include "mcp/message.h"

#include <gtest/gtest.h>

#include "mcp/message_batch.h"

namespace lares::mcp {
namespace {

// Node servers cut texts between the halves of a character.
TEST(Message, HalfACharacterSpoilsNoAnswer) {
  const Message message =
      parse_message(R"({"jsonrpc": "2.0", "id": 7, "result": {"text": "a\ud83d"}})");
  ASSERT_EQ(message.kind, Message::reply);
  EXPECT_EQ(message.id, 7);
  EXPECT_EQ(message.result["text"], "a\uFFFD");
}

TEST(Message, AnIdIsTheNumberThatItsStringSays) {
  const auto id_in = [](const std::string& id) {
    return parse_message(R"({"jsonrpc": "2.0", "result": {}, "id": )" + id + "}").id;
  };
  EXPECT_EQ(id_in("12"), 12);
  EXPECT_EQ(id_in(R"("12")"), 12);
  EXPECT_EQ(id_in(R"("9223372036854775807")"), INT64_MAX);
  for (const char* other : {R"("")", R"(" 12")", R"("12 ")", R"("+12")", R"("1.5")", R"("0x1")",
                            R"("9223372036854775808")", "1.5", "null", "[12]", R"({"12": 12})"})
    EXPECT_EQ(id_in(other), -1) << other;
  // a request's is the server's own, and goes back as it came
  EXPECT_EQ(parse_message(R"({"id": "12", "method": "ping"})").any_id, "12");
}

// One of the protocol's versions has them, and its servers may answer so.
TEST(Message, ABatchIsItsMessages) {
  const auto all = parse_messages(
      R"([{"jsonrpc": "2.0", "method": "n"}, 7, {"jsonrpc": "2.0", "id": 3, "result": {}}])");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].kind, Message::notification);
  EXPECT_EQ(all[1].kind, Message::garbage);
  EXPECT_EQ(all[2].id, 3);
  for (const char* text : {"[]", "7", "[", ""}) {
    const auto garbage = parse_messages(text);
    ASSERT_EQ(garbage.size(), 1u) << text;
    EXPECT_EQ(garbage[0].kind, Message::garbage) << text;
  }
  EXPECT_EQ(parse_messages(R"({"jsonrpc": "2.0", "id": 3, "result": {}})")[0].id, 3);
}

}  // namespace
}  // namespace lares::mcp
