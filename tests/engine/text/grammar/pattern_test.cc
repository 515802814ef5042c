// Expressions as tables: beside another implementation, on every short text.
#include "engine/text/grammar/pattern.h"

#include <functional>
#include <random>
#include <regex>
#include <set>

#include <gtest/gtest.h>

namespace lares::engine {
namespace {

Pattern compiled(const std::string& expression) {
  auto pattern = Pattern::compile(expression);
  EXPECT_TRUE(pattern) << expression << ": " << (pattern ? "" : pattern.error());
  return pattern ? std::move(*pattern) : *Pattern::compile("");
}

bool matches(const Pattern& pattern, std::string_view text) {
  Pattern::State state = Pattern::kStart;
  for (const char c : text) state = pattern.step(state, std::uint8_t(c));
  return pattern.accepts(state);
}

const std::vector<std::string> kExpressions = {"^a*b+c?$",
                                               "ab|^c",
                                               "^(?:a|bc)*$",
                                               "^[^ab]$",
                                               "a$",
                                               "^",
                                               "$",
                                               "",
                                               "^(a(b(c)?)?)?$",
                                               "^a{2}b{1,2}c{1,}$",
                                               "^(?:ab){0,2}-$",
                                               "^[a-b1]+$",
                                               "^\\d\\D\\w\\W$",
                                               "^(?:a*)*b$",
                                               "^a??b$",
                                               "^[\\-a]$",
                                               "^(?:|a)b$",
                                               "b.b",
                                               "^\\x61\\u0062$"};

TEST(Pattern, AgreesWithAnotherImplementationOnEveryShortText) {
  const std::string alphabet = "abc1-]";
  for (const std::string& expression : kExpressions) {
    SCOPED_TRACE(expression);
    const Pattern pattern = compiled(expression);
    const std::regex reference(expression);
    std::string text;
    const std::function<void()> all = [&] {
      EXPECT_EQ(matches(pattern, text), std::regex_search(text, reference)) << text;
      if (text.size() == 4) return;
      for (const char c : alphabet) {
        text += c;
        all();
        text.pop_back();
      }
    };
    all();
  }
}

// A state that is not dead leads somewhere: a walk can always be ended.
TEST(Pattern, FromEveryLivingStateAMatchCanBeReached) {
  std::vector<std::string> all = kExpressions;
  for (const char* const format : {"date", "time", "date-time", "duration", "email", "hostname",
                                   "ipv4", "ipv6", "uri", "uuid"})
    all.emplace_back(expression_of_format(format));
  for (const std::string& expression : all) {
    SCOPED_TRACE(expression);
    const Pattern pattern = compiled(expression);
    std::vector<bool> ends(pattern.n_states());
    for (bool changed = true; changed;) {
      changed = false;
      for (Pattern::State s = 1; s < pattern.n_states(); ++s) {
        if (ends[s]) continue;
        bool found = pattern.accepts(s);
        for (int b = 0; b < 256 && !found; ++b) found = ends[pattern.step(s, std::uint8_t(b))];
        if (found) ends[s] = changed = true;
      }
    }
    for (Pattern::State s = 1; s < pattern.n_states(); ++s) EXPECT_TRUE(ends[s]) << s;
  }
}

TEST(Pattern, ClassesAreOfCodePoints) {
  EXPECT_TRUE(matches(compiled("^[^a]$"), "é"));
  EXPECT_TRUE(matches(compiled("^.$"), "\U0001F600"));
  EXPECT_FALSE(matches(compiled("^.$"), "éé"));
  EXPECT_FALSE(matches(compiled("^.$"), "\n"));
  EXPECT_TRUE(matches(compiled("^[à-ü]+$"), "éàü"));
  EXPECT_FALSE(matches(compiled("^[à-ü]+$"), "ý"));
  EXPECT_TRUE(matches(compiled("^\\u20ac$"), "€"));
  // Every code point that a class has, and no other bytes.
  const Pattern some = compiled("^[\\u07fe-\\u0801\\ud7fe-\\ue001\uffff-\U00010001]$");
  for (char32_t c = 0x20; c < 0x11000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    if (c < 0x80)
      text = {char(c)};
    else if (c < 0x800)
      text = {char(0xC0 | c >> 6), char(0x80 | (c & 0x3F))};
    else if (c < 0x10000)
      text = {char(0xE0 | c >> 12), char(0x80 | (c >> 6 & 0x3F)), char(0x80 | (c & 0x3F))};
    else
      text = {char(0xF0 | c >> 18), char(0x80 | (c >> 12 & 0x3F)), char(0x80 | (c >> 6 & 0x3F)),
              char(0x80 | (c & 0x3F))};
    const bool in = (c >= 0x7FE && c <= 0x801) || (c >= 0xD7FE && c <= 0xE001) ||
                    (c >= 0xFFFF && c <= 0x10001);
    ASSERT_EQ(matches(some, text), in) << std::hex << std::uint32_t(c);
  }
  EXPECT_FALSE(matches(some, "\xed\xa0\x80"));
}

// What one validator takes for a blank and another does not is neither a blank nor none.
TEST(Pattern, BlanksAreThoseOfEveryReader) {
  for (const char* const text : {"\u0085", "\u00a0", "\u2003", "\u3000", "\ufeff"}) {
    for (const char* const expression : {"^\\s$", "^\\S$", "^[\\s]$", "^[\\S]$", "^[^\\s]$",
                                         "^[^\\S]$", "^[^\\s@]$", "^[\\s\\S]$"})
      EXPECT_FALSE(matches(compiled(expression), text)) << expression << ' ' << text;
  }
  for (const char* const expression : {"^\\s$", "^[\\s]$", "^[^\\S]$", "^[^\\Sa]$"}) {
    EXPECT_TRUE(matches(compiled(expression), " ")) << expression;
    EXPECT_FALSE(matches(compiled(expression), "a")) << expression;
  }
  for (const char* const expression : {"^\\S$", "^[\\S]$", "^[^\\s]$", "^[^\\s@]$"}) {
    EXPECT_FALSE(matches(compiled(expression), " ")) << expression;
    EXPECT_TRUE(matches(compiled(expression), "é")) << expression;
  }
}

// An empty group makes no part, however often it is repeated, but takes time.
TEST(Pattern, RepeatsOfNothingEnd) {
  std::string expression = "()";
  for (int n = 0; n < 8; ++n) expression = "(" + expression + "{1000})";
  const auto pattern = Pattern::compile("^" + expression + "$");
  ASSERT_FALSE(pattern);
  EXPECT_NE(pattern.error().find("pieces"), std::string::npos) << pattern.error();
  EXPECT_TRUE(matches(compiled("^(){1000}a$"), "a"));
}

TEST(Pattern, WhatATableCannotHoldIsRefused) {
  for (const char* const expression : {"(?=a)",
                                       "(?!a)",
                                       "(?<n>a)",
                                       "(?i)a",
                                       "\\1",
                                       "\\bword",
                                       "\\p{L}",
                                       "a**",
                                       "(a",
                                       "a)",
                                       "[a",
                                       "[z-a]",
                                       "a{2,1}",
                                       "a{x}",
                                       "*a",
                                       "a{1001}",
                                       "^(?:a{1000}){1000}$",
                                       "(?:a|b)*a(?:a|b){15}$",
                                       "^\\x01$",
                                       "[]",
                                       "a^b",
                                       "(^a)",
                                       "(a$)",
                                       "a$b",
                                       "\\"}) {
    EXPECT_FALSE(Pattern::compile(expression)) << expression;
  }
  EXPECT_FALSE(Pattern::compile(std::string(kPatternBytesMax + 1, 'a')));
  EXPECT_FALSE(Pattern::compile(std::string(100, '(') + std::string(100, ')')));
}

}  // namespace
}  // namespace lares::engine
