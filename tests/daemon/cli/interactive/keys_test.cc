// What a terminal sends, cut anywhere, gives the same keys.
#include "daemon/cli/interactive/keys.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "daemon/cli/interactive/line_layout.h"
#include "daemon/cli/interactive/paste_tokens.h"

namespace lares::cli {
namespace {

struct Seen {
  std::vector<wchar_t> keys;
  std::vector<std::string> pasted;
  bool operator==(const Seen&) const = default;
};

void take(KeyDecoder& decoder, Seen& seen) {
  while (const auto key = decoder.next()) {
    seen.keys.push_back(*key);
    if (*key == static_cast<wchar_t>(Key::pasted)) seen.pasted.push_back(decoder.take_pasted());
  }
}

Seen decode_in(const std::vector<std::string>& pieces) {
  KeyDecoder decoder;
  Seen seen;
  for (const auto& piece : pieces) {
    decoder.feed(piece);
    take(decoder, seen);
  }
  return seen;
}

wchar_t key(Key k) { return static_cast<wchar_t>(k); }

TEST(Keys, SequencesBecomeKeysAndUnknownOnesNothing) {
  const Seen seen =
      decode_in({"a\x1b[A\x1bOB\x1b[1;5C\x1b[25~\x1b[?1;2c\x1b\r\x1b[3~b\x1b"
                 "f\x1b[Z"});
  const std::vector<wchar_t> expected{
      L'a', key(Key::up), key(Key::down), key(Key::word_right), key(Key::new_line), key(Key::erase),
      L'b', 0x1b,         L'f',           key(Key::back_tab)};
  EXPECT_EQ(seen.keys, expected);
}

TEST(Keys, AnEscapeThatIsOverLeavesTheNextKeyAlone) {
  KeyDecoder decoder;
  Seen seen;
  decoder.feed("a\x1b");
  EXPECT_TRUE(decoder.escape_is_open());
  decoder.end_escape();
  EXPECT_FALSE(decoder.escape_is_open());
  decoder.feed("f\x1b[");
  EXPECT_FALSE(decoder.escape_is_open());  // its end comes, however late
  decoder.end_escape();
  decoder.feed("A");
  take(decoder, seen);
  EXPECT_EQ(seen.keys, (std::vector<wchar_t>{L'a', L'f', key(Key::up)}));
  decoder.feed("\x1b[200~x\x1b");  // in a paste it is text
  EXPECT_FALSE(decoder.escape_is_open());
}

TEST(Keys, CutAnywhereTheyAreTheSame) {
  const std::string all =
      "x\xC3\xA9\xE6\xBC\xA2\xF0\x9F\x8E\x89\x1b[1;3D\x1b[200~two\rlines "
      "\xE6\xBC\xA2\x1b[31m\x1b[201~y\xFFz\x1b\x1b[H";
  const Seen whole = decode_in({all});
  ASSERT_EQ(whole.pasted, std::vector<std::string>{"two\nlines \xE6\xBC\xA2[31m"});
  ASSERT_EQ(whole.keys.back(), key(Key::home));
  for (std::size_t i = 0; i <= all.size(); ++i) {
    EXPECT_EQ(decode_in({all.substr(0, i), all.substr(i)}), whole) << i;
    for (std::size_t j = i; j <= all.size(); ++j)
      ASSERT_EQ(decode_in({all.substr(0, i), all.substr(i, j - i), all.substr(j)}), whole)
          << i << ' ' << j;
  }
}

TEST(Keys, AnEndlessSequenceAndAnEndlessPasteAreBounded) {
  EXPECT_EQ(decode_in({"\x1b[" + std::string(1000, ';'), "a"}).keys.back(), L'a');
  const Seen seen = decode_in({"\x1b[200~", std::string(kPasteBytesMax, 'a'), "bbb", "\x1b[201~c"});
  ASSERT_EQ(seen.pasted.size(), 1u);
  EXPECT_EQ(seen.pasted[0].size(), kPasteBytesMax);
  EXPECT_EQ(seen.keys.back(), L'c');
}

TEST(Keys, WidenAndNarrowAreInverse) {
  const std::string text = "a\xC3\xA9\xE6\xBC\xA2\xF0\x9F\x8E\x89";
  EXPECT_EQ(narrow(widen(text)), text);
  EXPECT_EQ(narrow(widen("\xFF")), "\xEF\xBF\xBD");
}

TEST(PasteTokens, StandForLargePastesAndOnlyThose) {
  PasteTokens tokens;
  const std::string large(kPasteShownMax.bytes + 1, 'x'),
      lines = "1\n2\n3\n4\n5\n6\n7 [pasted 501 columns #1]";
  EXPECT_EQ(tokens.shown("a\nb", kPasteShownMax), "a\nb");
  EXPECT_EQ(tokens.shown(large, kPasteShownMax), "[pasted 501 columns #1]");
  EXPECT_EQ(tokens.shown(lines, kPasteShownMax), "[pasted 7 lines #2]");
  EXPECT_EQ(tokens.shown(large, kPasteShownMax), "[pasted 501 columns #1]");
  EXPECT_EQ(tokens.expanded("a [pasted 7 lines #2] b [pasted 501 columns #1]"),
            "a " + lines + " b " + large);
  EXPECT_EQ(tokens.expanded("[pasted 9 lines #2][pasted 501 columns #3]"),
            "[pasted 9 lines #2][pasted 501 columns #3]");
}

TEST(LineLayout, LettersStandWhereTheTerminalPutsThem) {
  const auto place = [](const std::wstring& text, int width) {
    const LinePlace p = place_in_line(L"> ", text, text.size(), width);
    return std::pair(p.row, p.column);
  };
  EXPECT_EQ(place(L"", 10), std::pair(0, 2));
  EXPECT_EQ(place(L"1234567", 10), std::pair(0, 9));
  EXPECT_EQ(place(L"12345678", 10), std::pair(1, 0));
  EXPECT_EQ(place(L"1234567\u6f22", 10), std::pair(1, 2));  // half of it would fit
  EXPECT_EQ(place(L"a\nbc", 10), std::pair(1, 2));
  EXPECT_EQ(place(L"\t", 20), std::pair(0, 8));
  EXPECT_EQ(place(L"e\u0301", 20), std::pair(0, 3));
  EXPECT_EQ(place(L"\x01", 20), std::pair(0, 4));
}

}  // namespace
}  // namespace lares::cli
