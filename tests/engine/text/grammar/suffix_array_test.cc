#include "engine/text/grammar/suffix_array.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <string>

#include <gtest/gtest.h>

namespace lares::engine {
namespace {

std::vector<std::uint32_t> sorted_one_by_one(std::string_view text) {
  std::vector<std::uint32_t> out(text.size());
  std::iota(out.begin(), out.end(), 0u);
  std::sort(out.begin(), out.end(),
            [&](std::uint32_t a, std::uint32_t b) { return text.substr(a) < text.substr(b); });
  return out;
}

TEST(SuffixArray, IsTheOrderOfTheSuffixes) {
  std::mt19937 random(1);
  for (int n = 0; n < 20'000; ++n) {
    std::string text;
    const unsigned n_letters = 1 + random() % 4;
    for (std::size_t size = random() % 50; text.size() < size;)
      text += random() % 8 == 0   ? '\xFF'
              : random() % 9 == 0 ? '\0'
                                  : char('a' + random() % n_letters);
    ASSERT_EQ(suffix_array(text), sorted_one_by_one(text)) << text;
  }
}

// Texts that repeat themselves are sorted again and again, each time a shorter one of names.
TEST(SuffixArray, TextsThatRepeatThemselvesAreSorted) {
  std::string fibonacci = "a", before = "b", lines;
  while (fibonacci.size() < 20'000) before = std::exchange(fibonacci, fibonacci + before);
  for (int n = 0; n < 900; ++n) lines += "  value_" + std::to_string(n % 90) + " = compute();\n";
  for (const std::string& text : {fibonacci, lines, std::string(3000, 'a')})
    EXPECT_EQ(suffix_array(text), sorted_one_by_one(text)) << text.substr(0, 40);
}

}  // namespace
}  // namespace lares::engine
