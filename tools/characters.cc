#include "tools/characters.h"

#include <algorithm>

namespace lares::tools {
namespace {

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

std::size_t utf8_ceiling(std::string_view text, std::size_t n) {
  while (n < text.size() && continues(text[n])) ++n;
  return n;
}

std::size_t n_characters(std::string_view text) {
  return text.size() - static_cast<std::size_t>(std::ranges::count_if(text, continues));
}

}  // namespace lares::tools
