// Damaged lines of the native protocol: each is a message, or an error that can be sent back as a
// line.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/protocol/wire.h"
#include "tests/fuzz.h"

namespace lares::daemon::protocol {
namespace {

constexpr std::size_t kLines = 20'000;

const std::vector<std::string> kSeeds = {
    R"({"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocol":1,"role":"control","client":"test"}})",
    R"({"jsonrpc":"2.0","id":"a","method":"session/create","params":{"root":"/w","settings":{"policy":"ask","temperature":0.5,"seed":18446744073709551615}}})",
    R"({"jsonrpc":"2.0","id":3,"method":"prompt/send","params":{"sessionId":"s","id":"p","content":"\u00e9 \ud83d\ude00","delivery":"steer"}})",
    R"({"jsonrpc":"2.0","id":null,"method":"session/subscribe","params":{"sessionId":"s","after":-1,"interactive":true}})",
    R"({"jsonrpc":"2.0","id":5,"result":{}})",
    R"([{"jsonrpc":"2.0","id":6,"method":"ping"}])",
};

const fuzz::Damage kDamage{
    {fuzz::change_byte, fuzz::erase_some, fuzz::copy_up_to(48), fuzz::cut_off, fuzz::open_brackets,
     fuzz::insert_one_of({"\"", "{", "}", "[", "]", ":", ",", "null", "true", "-1", "1e999",
                          "18446744073709551616", "\\ud800", "\\u0000", "\"id\"", "\"params\"",
                          "\xff", "\xe2\x82", " "})}};

template <class T>
void read(const Json& params) {
  const auto request = from_json<T>(params);
  if (!request) {
    EXPECT_FALSE(request.error().empty());
  } else {
    EXPECT_TRUE(from_json<T>(to_json(*request)))
        << "what was read cannot be written and read again: " << params;
  }
}

TEST(ProtocolFuzz, ALineIsAMessageOrAnError) {
  std::size_t n_messages = 0;
  const auto one_line = [&](fuzz::Random& random) {
    std::string line = kDamage(kSeeds[fuzz::below(kSeeds.size(), random)], random);
    std::erase(line, '\n');  // whoever reads lines takes it away
    SCOPED_TRACE(testing::PrintToString(line));
    Id id;
    const auto message = parse_line(line, id);
    if (!message) {
      const std::string answer = error_line(id, message.error());
      EXPECT_TRUE(Json::accept(answer)) << answer;
      EXPECT_EQ(answer.find('\n'), answer.size() - 1) << "one line";
      return;
    }
    ++n_messages;
    read<Initialize>(message->params);
    read<SessionCreate>(message->params);
    read<PromptSend>(message->params);
    read<SessionSubscribe>(message->params);
    if (message->id) {
      EXPECT_TRUE(Json::accept(result_line(*message->id, message->params)));
    }
  };
  const std::size_t n_lines = fuzz::repeat({.rounds = kLines}, one_line);
  std::printf("%zu lines, %zu messages\n", n_lines, n_messages);
  EXPECT_GT(n_messages, n_lines / 10);
  EXPECT_LT(n_messages, n_lines);
}

}  // namespace
}  // namespace lares::daemon::protocol
