#include "daemon/cli/terminal/prose.h"

#include <gtest/gtest.h>

#include <string>

#include "daemon/cli/terminal/markdown_table.h"

namespace lares::cli {
namespace {

constexpr Terminal kColour{.is_terminal = true, .colour = true, .utf8 = true, .width = 24};
constexpr Terminal kNoColour{.is_terminal = true, .utf8 = true, .width = 24};
constexpr Terminal kPipe{.utf8 = true};

// As it is shown, with styles as <b>, <c>, <d> and </>.
std::string shown(const std::string& text, const Terminal& terminal = kColour,
                  std::size_t split = std::string::npos) {
  Prose prose(terminal);
  std::string out = prose.feed(text.substr(0, split));
  if (split < text.size()) out += prose.feed(text.substr(split));
  out += prose.end();
  const std::pair<std::string, std::string> styles[] = {
      {"\x1b[1m", "<b>"}, {"\x1b[36m", "<c>"}, {"\x1b[2m", "<d>"}, {"\x1b[0m", "</>"}};
  for (const auto& [code, name] : styles)
    for (std::size_t at; (at = out.find(code)) != std::string::npos;)
      out.replace(at, code.size(), name);
  return out;
}

TEST(Prose, EmphasisAndCode) {
  EXPECT_EQ(shown("a **b c** d `e` f"), "a <b>b c</> d <c>e</> f");
  EXPECT_EQ(shown("**`f.py`**: g"), "<c>f.py</>: g");
  EXPECT_EQ(shown("## A title\nb"), "<b>## A title</>\nb");
}

TEST(Prose, WhatOnlyLooksLikeItIsLeftAsItIs) {
  for (const std::string text :
       {"2 ** 3 ** 4", "f(**kw) and", "a * b * c", "it is ` a tick", "``x``", "a **b\nc** d",
        "#1 is", "*.cc and *.h", "`a\nb`", "1.5 and", "-x", "****", "**"})
    EXPECT_EQ(shown(text), text);
}

TEST(Prose, ItemsOfAListStandBelowEachOther) {
  EXPECT_EQ(shown("- one two three four five\n- six"), "- one two three four\n  five\n- six");
  EXPECT_EQ(shown("10. one two three four five"), "10. one two three four\n    five");
  EXPECT_EQ(shown("  * one two three four five"), "  * one two three four\n    five");
  EXPECT_EQ(shown("- **one** two three four five", kNoColour), "- **one** two three\n  four five");
}

TEST(Prose, CodeKeepsItsLines) {
  const std::string code = "```py\nif a:\n    b = **c  # 'd' `e` - f\n- g\n# h\n```\n**i**";
  EXPECT_EQ(shown(code, kPipe), code);
  EXPECT_EQ(shown(code),
            "<d>```py</>\nif a:\n    b = **c  # 'd' `e` \n- f\n- g\n# h\n<d>```</>\n<b>i</>");
}

TEST(Prose, APipeGetsTheTextAsItIs) {
  const std::string text =
      "# a **b**\n- `c` and a line that is longer than any terminal\n\n\n| d |";
  EXPECT_EQ(shown(text, kPipe), text);
}

TEST(Prose, CellsOfATableStandBelowEachOther) {
  EXPECT_EQ(shown("a\n\n| n | `w` |\n|---|--:|\n| **b** | 1 |\n| c\\|d | 23 |\n\ne", kColour),
            "a\n\n<b>n</>  <d> │ </> <c>w</>\n"
            "<d>────┼───</>\n"
            "<b>b</>  <d> │ </> 1\n"
            "c|d<d> │ </>23\n\ne");
  EXPECT_EQ(shown("| n | w |\n|:-:|---|\n| abcd | |\n| | e | f |", kNoColour),
            " n   │ w\n"
            "─────┼──────\n"
            "abcd │\n"
            "     │ e | f");
  const Terminal ascii{.is_terminal = true, .width = 24};
  EXPECT_EQ(shown("| | |\n|-|-|\n| a | b |", ascii), "a | b");
  EXPECT_EQ(shown("- x\n  | a |\n  |---|\n  | b |", ascii), "- x\n  a\n  -\n  b");
}

TEST(Prose, ATableThatIsTooWideIsBrokenWithinItsCells) {
  EXPECT_EQ(shown("| what | why |\n|---|---|\n| one two | it is **long and** more |\n| 3 | 4 |"),
            "<b>what</>   <d> │ </><b>why</>\n"
            "<d>────────┼──────────────</>\n"
            "one two<d> │ </>it is <b>long</>\n"
            "       <d> │ </><b>and</> more\n"
            "3      <d> │ </>4");
  EXPECT_EQ(shown("| a | b | c |\n|---|---|---|\n| aaaaaaaaaa | bbbbbbbbbb | cc |\n", kNoColour),
            "a       │ b        │ c\n"
            "────────┼──────────┼───\n"
            "aaaaaaa │ bbbbbbbb │ cc\n"
            "aaa     │ bb       │");
  // Four of them have no room
  const std::string wide = "| aaaaaa | bbbbbb | c |\n|-|-|-|\n| aaaaaaaa | bbbbbbbbb | cccccccc |";
  EXPECT_EQ(shown(wide, kNoColour),
            "| aaaaaa | bbbbbb | c |\n|-|-|-|\n| aaaaaaaa | bbbbbbbbb\n| cccccccc |");
}

TEST(Prose, WhatOnlyLooksLikeATableIsText) {
  for (const std::string text : {"| a |\nb", "| a | b |\n|---|\n| c |", "|", "| a",
                                 "```\n| a |\n|---|\n```", "a | b\n---|---"})
    EXPECT_EQ(shown(text, kNoColour), text);
  EXPECT_EQ(shown("| **a** |", kColour), "| <b>a</> |");
  EXPECT_EQ(shown("| a |\n|---|\n| b |", kPipe), "| a |\n|---|\n| b |");
}

TEST(Prose, AnEndlessTableIsShownInParts) {
  Prose prose(kNoColour);
  prose.feed("| a |\n|---|\n");
  std::size_t fed = 0, written = 0;
  while (fed < 3 * kTableBytesMax) {
    const std::string row = "| " + std::string(500, 'x') + " |\n";
    fed += row.size(), written += prose.feed(row).size();
  }
  EXPECT_GT(written, 2 * kTableBytesMax);
}

TEST(Prose, ItIsTheSameHoweverItArrives) {
  const std::string text =
      "| a | **b** |\n|---|:-:|\n| `c` | 漢 |\n"
      "# t\n\n- **b** `c`\n1. d * e\n```\n  x ** y\n```\n`` ` `` **\n漢字 **漢字** `漢`\n";
  // Where the text is cut within a style, that is ended and begun anew.
  const auto joined = [](std::string styled) {
    for (const std::string again : {"</><b>", "</><d>", "</><c>"})
      for (std::size_t at; (at = styled.find(again)) != std::string::npos;)
        styled.erase(at, again.size());
    return styled;
  };
  const std::string whole = joined(shown(text));
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;
    EXPECT_EQ(shown(text, kNoColour, i), shown(text, kNoColour)) << i;
    EXPECT_EQ(joined(shown(text, kColour, i)), whole) << i;
  }
}

}  // namespace
}  // namespace lares::cli
