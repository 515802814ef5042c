#include "tools/clip.h"

#include <gtest/gtest.h>

#include "tests/tools/scratch.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

std::string clean(std::string_view bytes) {
  OutputCleaner whole;
  std::string out = whole.feed(bytes);
  out += whole.finish();
  OutputCleaner single;  // the same, byte by byte
  std::string pieces;
  for (char c : bytes) pieces += single.feed(std::string_view(&c, 1));
  EXPECT_EQ(pieces + single.finish(), out);
  return out;
}

TEST(OutputCleaner, DropsTerminalCodes) {
  EXPECT_EQ(clean("\x1b[1;31mred\x1b[0m \x1b]0;title\adone\x1b(B\n"), "red done\n");
  EXPECT_EQ(clean("bell\a tab\t null\0x"), "bell tab\t null");
  EXPECT_EQ(clean(std::string_view("a\0b", 3)), "ab");
}
TEST(OutputCleaner, KeepsTheLastStateOfALineDrawnAgain) {
  EXPECT_EQ(clean("10%\r50%\r100%\ndone\r\n"), "100%\ndone\n");
  EXPECT_EQ(clean("abX\bc"), "abc");
}
TEST(OutputCleaner, InvalidUtf8IsReplaced) {
  EXPECT_EQ(clean("a\xff"
                  "b\xe2\x82\xac\xe2\x82"),
            "a\xef\xbf\xbd"
            "b\xe2\x82\xac\xef\xbf\xbd");
}
TEST(OutputCleaner, AnUnfinishedSequenceDoesNotEatTheNextLine) {
  EXPECT_EQ(clean("\x1b[12\nnext\n"), "\nnext\n");
}

TEST(Clip, ShortTextIsAsItIs) {
  test::Scratch state;
  EXPECT_EQ(clipped(state.root(), "bash", std::string(16'000, 'x')), std::string(16'000, 'x'));
  EXPECT_FALSE(std::filesystem::exists(state.at("outputs")));
}
TEST(Clip, LongTextKeepsHeadAndTailAndNamesTheFile) {
  test::Scratch state;
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "line " + std::to_string(i) + "\n";
  Clip clip(state.root(), "bash");
  for (std::size_t i = 0; i < text.size(); i += 777)
    clip.append(std::string_view(text).substr(i, 777));
  const std::string out = clip.finish();
  EXPECT_TRUE(out.starts_with("line 0\n"));
  EXPECT_TRUE(out.ends_with("line 19999\n"));
  EXPECT_LT(out.size(), 16'000u + 600u);
  EXPECT_NE(out.find("<response clipped><NOTE>To save on context"), std::string::npos);
  EXPECT_NE(out.find(std::to_string(text.size() - 16'000) + " bytes left out here"),
            std::string::npos)
      << out.substr(9'900, 700);
  EXPECT_NE(out.find(state.at("outputs/bash-0001.txt")), std::string::npos);
  EXPECT_EQ(state.read("outputs/bash-0001.txt"), text);
}
TEST(Clip, CutsBetweenCharacters) {
  test::Scratch state;
  std::string text = "x";
  for (int i = 0; i < 10'000; ++i) text += "\u20ac";
  EXPECT_TRUE(is_utf8(clipped(state.root(), "bash", text)));
}
TEST(Spill, TheOldestFilesGo) {
  test::Scratch state;
  for (int i = 0; i < SpillFile::kFilesMax + 5; ++i)
    SpillFile::make(state.root(), "bash").append("x");
  int n = 0;
  for (const auto& entry : std::filesystem::directory_iterator(state.at("outputs")))
    n += entry.is_regular_file();
  EXPECT_EQ(n, SpillFile::kFilesMax);
  EXPECT_FALSE(std::filesystem::exists(state.at("outputs/bash-0005.txt")));
  EXPECT_TRUE(std::filesystem::exists(state.at("outputs/bash-0045.txt")));
}

}  // namespace
}  // namespace lares::tools
