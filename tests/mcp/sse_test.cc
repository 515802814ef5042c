// Server-sent events at every split of the stream: what is read must not depend on how the bytes
// come.
#include "mcp/sse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace lares::mcp {
namespace {

using testing::ElementsAre;

constexpr std::size_t kEventBytes = 1000;

struct Read {
  std::vector<std::string> events;  // "type|data"
  std::string last_id;
  std::optional<int> retry_ms;
  bool whole = true;
  bool operator==(const Read&) const = default;
};

Read read(const std::vector<std::string>& pieces) {
  Read out;
  SseParser parser(kEventBytes, [&](const std::string& type, const std::string& data) {
    out.events.push_back(type + "|" + data);
  });
  for (const auto& piece : pieces) out.whole = out.whole && parser.feed(piece);
  out.last_id = parser.last_id(), out.retry_ms = parser.retry_ms();
  return out;
}

const std::string kStream =
    "\xef\xbb\xbf: a comment\nid: 1\nretry: 500\ndata: \n\n"
    "event: message\r\nid: 2\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n"
    "event: other\rdata:no space\rdata\rdata:  two spaces\r\r"
    "retry: soon\nretry:\nunknown: x\n\nid: 3\n\ndata: \xc3\xa9\n\ndata: cut off";

TEST(Sse, EventsIdsAndTimesAreRead) {
  const auto all = read({kStream});
  EXPECT_THAT(all.events, ElementsAre("|", "message|{\"a\":\n1}", "other|no space\n\n two spaces",
                                      "|\xc3\xa9"));
  EXPECT_EQ(all.last_id, "3");
  EXPECT_EQ(all.retry_ms, 500);
}

TEST(Sse, EverySplitReadsTheSame) {
  const auto want = read({kStream});
  for (std::size_t i = 0; i <= kStream.size(); ++i)
    ASSERT_EQ(read({kStream.substr(0, i), kStream.substr(i)}), want) << i;
  std::vector<std::string> bytes;
  for (const char c : kStream) bytes.emplace_back(1, c);
  EXPECT_EQ(read(bytes), want);
}

TEST(Sse, AnEventThatIsTooLongEndsTheStream) {
  EXPECT_TRUE(read({"data: " + std::string(kEventBytes - 10, 'x') + "\n\n"}).whole);
  EXPECT_FALSE(read({"data: " + std::string(kEventBytes, 'x')}).whole);
  std::string lines;
  for (int i = 0; i < 300; ++i) lines += "data: xxxx\n";
  EXPECT_FALSE(read({lines}).whole);
}

TEST(Sse, AnEventThatWasCutOffIsNotHad) {
  std::vector<std::string> seen;
  SseParser parser(kEventBytes,
                   [&](const std::string&, const std::string& data) { seen.push_back(data); });
  parser.feed("id: 1\ndata: one\n\nid: 2\ndata: tw");
  EXPECT_EQ(parser.last_id(), "1");
  parser.restart();
  parser.feed("data: three\n\n");
  EXPECT_THAT(seen, ElementsAre("one", "three"));
  EXPECT_EQ(parser.last_id(), "1");
}

}  // namespace
}  // namespace lares::mcp
