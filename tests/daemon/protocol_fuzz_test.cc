// Damaged lines of the native protocol: each is a message, or an error that can be sent back as a line. LARES_FUZZ_SECONDS and
// LARES_FUZZ_SEED say how long and from where; without them the same 20,000 lines are tried every time.
#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/wire.h"

namespace lares::daemon::protocol {
namespace {

constexpr std::size_t kLines = 20'000;

std::uint64_t from_environment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 10) : fallback;
}

const std::vector<std::string> kSeeds = {
    R"({"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocol":1,"role":"control","client":"test"}})",
    R"({"jsonrpc":"2.0","id":"a","method":"session/create","params":{"root":"/w","settings":{"policy":"ask","temperature":0.5,"seed":18446744073709551615}}})",
    R"({"jsonrpc":"2.0","id":3,"method":"prompt/send","params":{"sessionId":"s","id":"p","content":"\u00e9 \ud83d\ude00","delivery":"steer"}})",
    R"({"jsonrpc":"2.0","id":null,"method":"session/subscribe","params":{"sessionId":"s","after":-1,"interactive":true}})",
    R"({"jsonrpc":"2.0","id":5,"result":{}})",
    R"([{"jsonrpc":"2.0","id":6,"method":"ping"}])",
};

std::string mutated(std::string line, std::mt19937_64& random) {
  static const char* const kWords[] = {"\"", "{", "}", "[", "]", ":", ",", "null", "true", "-1", "1e999", "18446744073709551616", "\\ud800", "\\u0000", "\"id\"", "\"params\"", "\xff", "\xe2\x82", " "};
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % std::max<std::size_t>(n, 1)); };
  for (std::size_t n = below(4); n-- > 0 && !line.empty();) {
    const std::size_t at = below(line.size());
    switch (below(6)) {
      case 0: line[at] = static_cast<char>(random()); break;
      case 1: line.erase(at, 1 + below(12)); break;
      case 2: line.insert(at, kWords[below(std::size(kWords))]); break;
      case 3: line.insert(at, line.substr(below(line.size()), 1 + below(48))); break;
      case 4: line.resize(at); break;
      default: line.insert(at, std::string(1 + below(2000), '[')); break;
    }
  }
  std::erase(line, '\n');  // whoever reads lines takes it away
  return line;
}

template <class T>
void read(const Json& params) {
  const auto request = from_json<T>(params);
  if (!request) {
    EXPECT_FALSE(request.error().empty());
  } else {
    EXPECT_TRUE(from_json<T>(to_json(*request))) << "what was read cannot be written and read again: " << params;
  }
}

TEST(ProtocolFuzz, ALineIsAMessageOrAnError) {
  const auto seconds = from_environment("LARES_FUZZ_SECONDS", 0);
  const auto seed = from_environment("LARES_FUZZ_SEED", seconds > 0 ? static_cast<std::uint64_t>(std::random_device{}()) : 1);
  std::printf("LARES_FUZZ_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  std::mt19937_64 random(seed);
  std::size_t n_lines = 0, n_messages = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while ((seconds > 0 ? std::chrono::steady_clock::now() < end : n_lines < kLines) && !testing::Test::HasFailure()) {
    const std::string line = mutated(kSeeds[random() % kSeeds.size()], random);
    SCOPED_TRACE(testing::PrintToString(line));
    ++n_lines;
    Id id;
    const auto message = parse_line(line, id);
    if (!message) {
      const std::string answer = error_line(id, message.error());
      EXPECT_TRUE(Json::accept(answer)) << answer;
      EXPECT_EQ(answer.find('\n'), answer.size() - 1) << "one line";
      continue;
    }
    ++n_messages;
    read<Initialize>(message->params);
    read<SessionCreate>(message->params);
    read<PromptSend>(message->params);
    read<SessionSubscribe>(message->params);
    if (message->id) {
      EXPECT_TRUE(Json::accept(result_line(*message->id, message->params)));
    }
  }
  std::printf("%zu lines, %zu messages\n", n_lines, n_messages);
  EXPECT_GT(n_messages, n_lines / 10);
  EXPECT_LT(n_messages, n_lines);
}

}  // namespace
}  // namespace lares::daemon::protocol
