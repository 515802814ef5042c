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

}  // namespace

bool is_yes(std::string_view line) { return is_word(line, "y") || is_word(line, "yes"); }

bool is_no(std::string_view line) { return is_word(line, "n") || is_word(line, "no"); }

bool is_letter(std::string_view line, char letter) { return is_word(line, {&letter, 1}); }

}  // namespace lares::cli
