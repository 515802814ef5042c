// Damaged messages: every mutation is refused or answered, never a crash, and every answer is a message of the protocol itself. LARES_FUZZ_SECONDS
// and LARES_FUZZ_SEED say how long and from where; the same seed does the same things.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <random>

#include <boost/asio/redirect_error.hpp>

#include "tests/mcp/server/client.h"

namespace lares::mcp::server::test {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 10) : fallback;
}

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
};

std::string mutated(std::string bytes, std::mt19937_64& random) {
  static const char* const kWords[] = {"null", "[]", "{}", "-1", "1e308", "18446744073709551616", "\"\"", "true", "\\ud800", "[[[[", "\"id\"", "\"params\"", "2026-07-28", "lares-1"};
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % std::max<std::size_t>(n, 1)); };
  for (std::size_t n = below(4); n-- > 0 && !bytes.empty();) {
    const std::size_t at = below(bytes.size());
    switch (below(6)) {
      case 0: bytes[at] = static_cast<char>(random()); break;
      case 1: bytes.erase(at, 1 + below(24)); break;
      case 2: bytes.insert(at, bytes.substr(below(bytes.size()), 1 + below(48))); break;
      case 3: bytes.replace(at, std::min<std::size_t>(bytes.size() - at, 1 + below(12)), kWords[below(std::size(kWords))]); break;
      case 4: {  // a whole value
        const auto colon = bytes.find(':', at);
        const auto end = colon == std::string::npos ? colon : bytes.find_first_of(",}", colon);
        if (end != std::string::npos) bytes.replace(colon + 1, end - colon - 1, kWords[below(std::size(kWords))]);
        break;
      }
      default: bytes.resize(at);
    }
  }
  return bytes;
}

TEST(FramingFuzz, DamageIsRefusedOrAnswered) {
  const auto seconds = from_environment("LARES_FUZZ_SECONDS", 2);
  const auto seed = from_environment("LARES_FUZZ_SEED", static_cast<std::uint64_t>(std::random_device{}()));
  std::printf("LARES_FUZZ_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  std::mt19937_64 random(seed);
  std::size_t refused = 0, answered = 0, n_lives = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < end) {
    Client c;
    c.peer->aside(c.heard);
    ++n_lives;
    if (random() % 4 != 0) c.initialize({{"elicitation", Json::object()}});
    for (int i = 0; i < 50; ++i) {
      const std::string line = mutated(kSeeds[random() % std::size(kSeeds)], random);
      const auto message = parse(line);
      if (!message) {
        ++refused;
        ASSERT_FALSE(message.error().message.empty());
        ASSERT_TRUE(parse(error_text(1, message.error())));
        continue;
      }
      const int finished = c.heard->finished;
      const bool expects = c.peer->receive(*message, c.heard);
      c.run();
      answered += c.heard->finished > finished;
      ASSERT_TRUE(expects || c.heard->finished <= finished + 1) << line;
      for (const Json& said : c.heard->messages) ASSERT_EQ(said["jsonrpc"], "2.0") << line;
      c.heard->messages.clear();
    }
    c.endpoint.tools_changed();
    c.peer->left();
    c.run();
    ASSERT_EQ(c.endpoint.n_running(), 0u);
  }
  std::printf("%zu clients, %zu messages refused, %zu answered\n", n_lives, refused, answered);
  EXPECT_GT(refused, 0u);
  EXPECT_GT(answered, 0u);
}

}  // namespace
}  // namespace lares::mcp::server::test
