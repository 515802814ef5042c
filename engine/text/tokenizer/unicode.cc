#include "engine/text/tokenizer/unicode.h"

#include <cassert>
#include <cstring>
#include <map>
#include <string>

#include "engine/text/tokenizer/regex.h"

namespace lares::engine {
namespace {

constexpr char32_t kCodePoints = 0x110000;

void append_utf8(std::string& s, char32_t c) {
  if (c < 0x80) {
    s += char(c);
  } else if (c < 0x800) {
    s += char(0xC0 | c >> 6);
    s += char(0x80 | (c & 63));
  } else if (c < 0x10000) {
    s += char(0xE0 | c >> 12);
    s += char(0x80 | (c >> 6 & 63));
    s += char(0x80 | (c & 63));
  } else {
    s += char(0xF0 | c >> 18);
    s += char(0x80 | (c >> 12 & 63));
    s += char(0x80 | (c >> 6 & 63));
    s += char(0x80 | (c & 63));
  }
}

// Sets `bit` for every character of `text` that `pattern` matches.
void mark(const std::string& text, const char* pattern, std::uint8_t bit,
          std::vector<std::uint8_t>& classes) {
  auto regex = Regex::compile(pattern);
  assert(regex && "a pattern of our own must compile");
  Regex::Scratch scratch(*regex);
  for (std::size_t at = 0; at < text.size();) {
    const auto match = regex->find(text, at, scratch);
    if (!match) break;
    for (at = match->begin; at < match->end;) {
      const CodePoint c = code_point(text.data() + at);
      classes[c.value] |= bit;
      at += std::size_t(c.length);
    }
  }
}

}  // namespace

const CharTable& CharTable::instance() {
  static const CharTable table;
  return table;
}

CharTable::CharTable() {
  std::string all;
  all.reserve(4 * kCodePoints);
  for (char32_t c = 0; c < kCodePoints; ++c) {
    if (c < 0xD800 || c > 0xDFFF) append_utf8(all, c);
  }
  std::vector<std::uint8_t> classes(kCodePoints, 0);
  mark(all, "\\p{L}+", kLetter, classes);
  mark(all, "\\p{M}+", kMark, classes);
  mark(all, "\\p{N}+", kNumber, classes);
  mark(all, "\\p{P}+", kPunctuation, classes);
  mark(all, "\\p{S}+", kSymbol, classes);
  // Not \s: in PCRE2 that includes U+180E, which lost the property in Unicode 6.3.
  mark(all, "\\p{White_Space}+", kSpace, classes);
  for (char32_t c = 0x4E00; c <= 0x9FA5; ++c) classes[c] |= kKana;
  for (char32_t c = 0x3040; c <= 0x30FF; ++c) classes[c] |= kKana;

  std::map<std::string_view, std::uint16_t> rows;  // equal blocks share a row
  for (std::size_t block = 0; block < index_.size(); ++block) {
    const std::string_view content(reinterpret_cast<const char*>(classes.data()) + block * 256,
                                   256);
    const auto [row, is_new] = rows.try_emplace(content, std::uint16_t(rows.size()));
    if (is_new) blocks_.insert(blocks_.end(), content.begin(), content.end());
    index_[block] = row->second;
  }
  std::memcpy(ascii_.data(), classes.data(), ascii_.size());
}

int utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < text.size() ? (unsigned char)text[i] : 0u;
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  if (text.empty()) return 0;
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  if (lead < 0xE0) return tail(1) ? 2 : 0;
  if (lead < 0xF0) {
    if (!tail(1) || !tail(2)) return 0;
    if (lead == 0xE0 && byte(1) < 0xA0) return 0;   // overlong
    if (lead == 0xED && byte(1) >= 0xA0) return 0;  // surrogate
    return 3;
  }
  if (lead > 0xF4 || !tail(1) || !tail(2) || !tail(3)) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) >= 0x90) return 0;
  return 4;
}

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    std::uint64_t eight;
    if (at + 8 <= text.size()) {
      std::memcpy(&eight, text.data() + at, 8);
      if ((eight & 0x8080808080808080u) == 0) {
        at += 8;
        continue;
      }
    }
    const int length = utf8_sequence(text.substr(at, 4));
    if (length == 0) break;
    at += std::size_t(length);
  }
  return at;
}

}  // namespace lares::engine
