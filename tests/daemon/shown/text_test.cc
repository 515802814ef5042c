#include "daemon/shown/text.h"

#include <gtest/gtest.h>
#include <locale.h>

#include <clocale>

namespace lares::shown {
namespace {

TEST(ShownText, DecodesEveryCharacterThatItWrites) {
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code >= 0xD800 && code <= 0xDFFF) continue;
    std::string bytes;
    append_utf8(bytes, code);
    const Character c = decode(bytes + "\x80");
    ASSERT_TRUE(c.valid && c.code == code && c.bytes == bytes.size())
        << static_cast<unsigned>(code);
    for (std::size_t n = 1; n < bytes.size(); ++n) {
      const Character cut = decode(bytes.substr(0, n));
      ASSERT_TRUE(!cut.valid && cut.bytes == 1) << static_cast<unsigned>(code);
    }
  }
}

// Of the process's locale other threads read while this one measures.
TEST(ShownText, MeasuringChangesNoLocale) {
  ASSERT_STREQ(std::setlocale(LC_CTYPE, nullptr), "C");
  EXPECT_EQ(columns("漢é"), 3);
  EXPECT_EQ(columns("e\u0301"), 1) << "a combining accent has no column of its own";
  EXPECT_STREQ(std::setlocale(LC_CTYPE, nullptr), "C");
  EXPECT_EQ(::uselocale(nullptr), LC_GLOBAL_LOCALE);
}

TEST(ShownText, WhatIsNoCharacterTakesOneByte) {
  for (const char* const bytes : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80",
                                  "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80"}) {
    const Character c = decode(bytes);
    EXPECT_TRUE(!c.valid && c.bytes == 1 && c.code == 0xFFFD) << bytes;
  }
}

}  // namespace
}  // namespace lares::shown
