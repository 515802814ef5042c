#include "daemon/cli/yes_no.h"

#include <algorithm>

namespace lares::cli {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

bool is_word(std::string_view line, std::string_view lower_case) {
  line = trimmed(line);
  const auto same = [](char typed, char wanted) {
    return typed == wanted || (typed >= 'A' && typed <= 'Z' && typed - 'A' + 'a' == wanted);
  };
  return std::equal(line.begin(), line.end(), lower_case.begin(), lower_case.end(), same);
}

}  // namespace

std::string_view trimmed(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
  const std::size_t last = line.find_last_not_of(kBlanks);
  return line.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

bool is_yes(std::string_view line) { return is_word(line, "y") || is_word(line, "yes"); }

bool is_no(std::string_view line) { return is_word(line, "n") || is_word(line, "no"); }

bool is_letter(std::string_view line, char letter) { return is_word(line, {&letter, 1}); }

}  // namespace lares::cli
