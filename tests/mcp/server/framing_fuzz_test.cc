// Damaged messages: every mutation is refused or answered, never a crash, and every answer is a
// message of the protocol itself.
#include <gtest/gtest.h>

#include <boost/asio/redirect_error.hpp>

#include "tests/fuzz.h"
#include "tests/mcp/server/client.h"

namespace lares::mcp::server::test {
namespace {

const char* const kSeeds[] = {
    R"({"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{},"sampling":{"tools":{}}},"clientInfo":{"name":"f","version":"1"}}})",
    R"({"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"ask","arguments":{"a":[1,2,{"b":null}]},"_meta":{"progressToken":7}}})",
    R"({"jsonrpc":"2.0","id":"lares-1","result":{"action":"accept","content":{"name":"x"}}})",
    R"({"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"ask","inputResponses":{"who":{"action":"accept","content":{}}},"requestState":"AAAA","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},"io.modelcontextprotocol/logLevel":"info"}}})",
    R"({"jsonrpc":"2.0","id":4,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a","b"]},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}})",
    R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2,"reason":"x"}})",
    R"({"jsonrpc":"2.0","id":5,"method":"tools/list","params":{"cursor":"100"}})",
    R"({"jsonrpc":"2.0","id":6,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"x"},"argument":{"name":"a","value":"b"}}})",
    R"({"jsonrpc":"2.0","id":7,"method":"resources/subscribe","params":{"uri":"x://1"}})",
    R"([{"jsonrpc":"2.0","id":8,"method":"ping"},{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"ask"}}])",
};

const fuzz::Words kWords = {
    "null", "[]",      "{}",   "-1",     "1e308",      "18446744073709551616", "\"\"",
    "true", "\\ud800", "[[[[", "\"id\"", "\"params\"", "2026-07-28",           "lares-1"};
const fuzz::Damage kDamage{{fuzz::change_byte, fuzz::erase_some, fuzz::copy_up_to(48),
                            fuzz::put_one_of(kWords), fuzz::replace_value_by(kWords),
                            fuzz::cut_off}};

TEST(FramingFuzz, DamageIsRefusedOrAnswered) {
  std::size_t refused = 0, answered = 0;
  const auto one_client = [&](fuzz::Random& random) {
    Client c;
    c.peer->aside(c.heard);
    if (random() % 4 != 0)
      c.initialize({{"elicitation", Json::object()}},
                   random() % 2 == 0 ? "2025-03-26" : "2025-11-25");
    for (int i = 0; i < 50; ++i) {
      const std::string line = kDamage(kSeeds[random() % std::size(kSeeds)], random);
      const auto incoming = std::make_shared<const Incoming>(parse_all(line));
      const auto& message = incoming->messages.front();
      if (!incoming->batch && !message) {
        ++refused;
        ASSERT_FALSE(message.error().message.empty());
        ASSERT_TRUE(parse(error_text(1, message.error())));
        continue;
      }
      const int finished = c.heard->finished;
      const bool expects = incoming->batch ? c.peer->receive_batch(incoming, c.heard)
                                           : c.peer->receive(message_of(incoming, 0), c.heard);
      c.run();
      answered += c.heard->finished > finished;
      ASSERT_TRUE(expects || c.heard->finished <= finished + 1) << line;
      for (const Json& said : c.heard->messages)
        ASSERT_EQ(said.is_array() ? said[0]["jsonrpc"] : said["jsonrpc"], "2.0") << line;
      c.heard->messages.clear();
    }
    c.endpoint.tools_changed();
    c.peer->left();
    c.run();
    ASSERT_EQ(c.endpoint.n_running(), 0u);
  };
  const std::size_t n_clients = fuzz::repeat({.seconds = 2}, one_client);
  std::printf("%zu clients, %zu messages refused, %zu answered\n", n_clients, refused, answered);
  EXPECT_GT(refused, 0u);
  EXPECT_GT(answered, 0u);
}

}  // namespace
}  // namespace lares::mcp::server::test
