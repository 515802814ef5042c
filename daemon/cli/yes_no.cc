#include "daemon/cli/yes_no.h"

#include <algorithm>

#include "tools/text.h"

namespace lares::cli {
namespace {

bool is_word(std::string_view line, std::string_view lower_case) {
  line = tools::trimmed(line);
  const auto same = [](char typed, char wanted) {
    return typed == wanted || (typed >= 'A' && typed <= 'Z' && typed - 'A' + 'a' == wanted);
  };
  return std::equal(line.begin(), line.end(), lower_case.begin(), lower_case.end(), same);
}

constexpr std::string_view kAssent[] = {"y",      "yes",   "yep",    "yeah", "ok",
                                        "okay",   "sure",  "fine",   "go",   "do it",
                                        "run it", "allow", "always", "once", "1"};

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

bool begins_as_yes(std::string_view line) {
  line = tools::trimmed(line);
  if (is_yes(line)) return false;
  return std::ranges::any_of(kAssent, [&](std::string_view word) {
    return is_word(line.substr(0, word.size()), word) &&
           (line.size() == word.size() || !is_letter_or_digit(line[word.size()]));
  });
}

bool is_yes(std::string_view line) { return is_word(line, "y") || is_word(line, "yes"); }

bool is_no(std::string_view line) { return is_word(line, "n") || is_word(line, "no"); }

bool is_letter(std::string_view line, char letter) { return is_word(line, {&letter, 1}); }

}  // namespace lares::cli
