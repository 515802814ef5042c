#include "mcp/message.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace lares::mcp
