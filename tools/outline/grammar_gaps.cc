#include "tools/outline/grammar_gaps.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace lares::tools {
namespace {

// What a language has and its grammar does not know, or stops at: a line with all of the words.
struct Lacking {
  std::string_view language;  // of TypeScript, TSX's as well; of C++, C's
  std::array<std::string_view, 3> words;
};
constexpr Lacking kLacking[] = {
    {"C++", {"#"}},
    {"C++", {"= {"}},
    {"C++", {"template"}},
    {"C++", {"operator"}},
    {"C++", {"->*"}},
    {"C++", {".*"}},
    {"C++", {"..."}},
    {"C++", {"requires"}},
    {"C++", {"using "}},
    {"C++", {"enum"}},
    {"C++", {"__"}},
    {"Java", {"import module "}},           // 25
    {"Java", {"super("}},                   // not as the first statement: 25
    {"JavaScript", {"export {"}},           // any word is a name there: null, function
    {"JavaScript", {"accessor "}},          // of decorators
    {"JavaScript", {"import ", " * as "}},  // defer
    {"Rust", {"unsafe extern"}},            // 1.82
    {"Rust", {"safe fn"}},
    {"Rust", {"async Fn"}},             // 1.85
    {"TypeScript", {"import("}},        // import("a").B<C>
    {"TypeScript", {"export type *"}},  // 5.0
    {"TypeScript", {"<in "}},           // variance: 4.7
    {"TypeScript", {"<out "}},
    {"TypeScript", {" out "}},
    {"TypeScript", {"export default function"}},  // without a body
    {"TypeScript", {"global {"}},
};

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// "class A[T = int]:", in Python since 3.13.
bool has_default_of_type(std::string_view line) {
  for (const std::string_view word : {"class ", "def ", "type "}) {
    auto at = line.find(word);
    if (at == line.npos) continue;
    for (at += word.size(); at < line.size() && in_word(line[at]);) ++at;
    if (at >= line.size() || line[at] != '[') continue;
    return line.substr(at, line.find(']', at) - at).find('=') != line.npos;
  }
  return false;
}

}  // namespace

bool is_c_family(const Language& language) {
  return language.name == "C" || language.name == "C++";
}

bool is_gap(const Language& language, std::string_view line) {
  const auto name = language.name == "C"     ? "C++"
                    : language.name == "TSX" ? "TypeScript"
                                             : language.name;
  const auto all_in = [&](const Lacking& lacking) {
    return std::ranges::all_of(lacking.words,
                               [&](auto word) { return line.find(word) != line.npos; });
  };
  for (const Lacking& lacking : kLacking)
    if (lacking.language == name && all_in(lacking)) return true;
  if (name == "Python") return has_default_of_type(line);
  if (!is_c_family(language)) return false;
  // a macro: INLINE, EXPECT_EQ
  for (std::size_t begin = 0, end = 0; begin < line.size(); begin = end + 1) {
    end = begin;
    while (end < line.size() && in_word(line[end])) ++end;
    const std::string_view word = line.substr(begin, end - begin);
    if (word.size() >= 2 && std::isupper(static_cast<unsigned char>(word[0])) &&
        std::ranges::none_of(word,
                             [](char c) { return std::islower(static_cast<unsigned char>(c)); }))
      return true;
  }
  return false;
}

}  // namespace lares::tools
