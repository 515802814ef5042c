#include "daemon/bridges/acp/lines.h"

#include <vector>

#include <gtest/gtest.h>

namespace lares::cli::acp {
namespace {

std::vector<std::string> lines_of(std::string_view bytes, std::size_t cut) {
  std::vector<std::string> out;
  LineReader lines(kEditorLines);
  const auto take = [&](Line line) { out.push_back(std::move(line.text)); };
  lines.take(bytes.substr(0, cut), take);
  lines.take(bytes.substr(cut), take);
  return out;
}

TEST(AcpLines, AreTheSameAtEverySplit) {
  constexpr std::string_view kBytes = "{\"a\":1}\n\n \r\n{\"b\":\"\u00e9\"}\r\nhalf";
  const std::vector<std::string> want = {"{\"a\":1}", "{\"b\":\"\u00e9\"}\r"};  // what is not ended
                                                                                // was not sent
  for (std::size_t cut = 0; cut <= kBytes.size(); ++cut)
    EXPECT_EQ(lines_of(kBytes, cut), want) << cut;
}

TEST(AcpLines, ALineThatIsTooLongIsToldOnceAndTheNextIsWhole) {
  std::vector<Line> out;
  LineReader lines(kEditorLines);
  const auto take = [&](Line line) { out.push_back(std::move(line)); };
  const std::string piece = std::string(1 << 20, 'x');
  lines.take("{\"id\":7,", take);
  for (std::size_t n = 0; n <= kLineBytesMax; n += piece.size()) lines.take(piece, take);
  EXPECT_TRUE(out.empty());
  lines.take("\n{}\n", take);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_TRUE(out[0].too_long);
  EXPECT_EQ(out[0].text.size(), kLineHeadMax);
  EXPECT_EQ(id_of_cut(out[0].text), Json(7));
  EXPECT_FALSE(out[1].too_long);
  EXPECT_EQ(out[1].text, "{}");
}

TEST(AcpLines, ALineAsLongAsMayBeIsTaken) {
  std::vector<Line> out;
  LineReader lines(kEditorLines);
  const auto take = [&](Line line) { out.push_back(std::move(line)); };
  lines.take(std::string(kLineBytesMax, 'x'), take);
  lines.take("\n", take);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_FALSE(out[0].too_long);
}

TEST(AcpLines, TheIdOfACutMessage) {
  EXPECT_EQ(id_of_cut(R"({"jsonrpc":"2.0","id": 12 ,"method":"session/prompt","params":{"te)"),
            Json(12));
  EXPECT_EQ(id_of_cut(R"({"method":"a \" \\","id":"x\"y","p)"), Json("x\"y"));
  EXPECT_EQ(id_of_cut(R"({"params":{"id":1,"list":[{"id":2}]},"id":3,"more)"), Json(3));
  EXPECT_EQ(id_of_cut(R"({"method":"id","params":{"id":1}, "x)"), Json());  // not the message's
  EXPECT_EQ(id_of_cut(R"({"id":12)"), Json());                              // it may go on
  EXPECT_EQ(id_of_cut(R"({"id":)"), Json());
  EXPECT_EQ(id_of_cut(R"({"id)"), Json());
  EXPECT_EQ(id_of_cut(R"({"id":{"a":1},)"), Json());
  EXPECT_EQ(id_of_cut(""), Json());
}

}  // namespace
}  // namespace lares::cli::acp
