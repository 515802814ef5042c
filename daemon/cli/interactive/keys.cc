#include "daemon/cli/interactive/keys.h"

#include <algorithm>
#include <array>
#include <utility>

#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr std::string_view kPasteBegins = "\x1b[200~", kPasteEnds = "\x1b[201~";
constexpr std::size_t kSequenceBytesMax = 32;  // a longer one is none
constexpr wchar_t kEscape = 0x1b;

// Without their introducer, ESC [ or ESC O: as xterm, VT220, rxvt, the Linux console and kitty's
// protocol send them.
constexpr std::array<std::pair<std::string_view, Key>, 36> kSequences{{
    {"A", Key::up},
    {"B", Key::down},
    {"C", Key::right},
    {"D", Key::left},
    {"H", Key::home},
    {"F", Key::end},
    {"1~", Key::home},
    {"7~", Key::home},
    {"4~", Key::end},
    {"8~", Key::end},
    {"3~", Key::erase},
    {"1;5C", Key::word_right},
    {"1;5D", Key::word_left},
    {"1;3C", Key::word_right},
    {"1;3D", Key::word_left},
    {"1;9C", Key::word_right},
    {"1;9D", Key::word_left},
    {"5C", Key::word_right},
    {"5D", Key::word_left},
    {"c", Key::word_right},
    {"d", Key::word_left},
    {"1;2A", Key::up},
    {"1;2B", Key::down},
    {"1;2C", Key::right},
    {"1;2D", Key::left},
    {"1;5H", Key::home},
    {"1;5F", Key::end},
    {"1;2H", Key::home},
    {"1;2F", Key::end},
    {"13;2u", Key::new_line},
    {"13;3u", Key::new_line},
    {"13;5u", Key::new_line},
    {"27;2;13~", Key::new_line},
    {"27;3;13~", Key::new_line},
    {"Z", Key::back_tab},
    {"9;2u", Key::back_tab},
}};

// How many bytes the character takes that begins with `lead`; 0: none begins so.
std::size_t character_bytes(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if ((lead & 0xF0) == 0xE0) return 3;
  return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

}  // namespace

std::string insertable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\r') {
      if (i + 1 == text.size() || text[i + 1] != '\n') out += '\n';
    } else if (c == '\n' || c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F)) {
      out += c;
    }
  }
  return out;
}

std::wstring widen(std::string_view utf8) {
  std::wstring out;
  while (!utf8.empty()) {
    const Character c = decode(utf8);
    out += static_cast<wchar_t>(c.code);
    utf8.remove_prefix(c.bytes);
  }
  return out;
}

std::string narrow(std::wstring_view text) {
  std::string out;
  for (const wchar_t c : text) append_utf8(out, static_cast<char32_t>(c));
  return out;
}

void KeyDecoder::feed(std::string_view bytes) {
  in_ += bytes;
  while (!in_.empty() && (pasting_ ? take_paste() : take_one())) {
  }
}

std::optional<wchar_t> KeyDecoder::next() {
  if (keys_.empty()) return std::nullopt;
  const wchar_t key = keys_.front();
  keys_.pop_front();
  return key;
}

std::string KeyDecoder::take_pasted() {
  if (pasted_.empty()) return {};
  std::string text = std::move(pasted_.front());
  pasted_.pop_front();
  return text;
}

bool KeyDecoder::take_one() { return in_[0] == '\x1b' ? take_escape() : take_character(); }

// False: more bytes are needed.
bool KeyDecoder::take_escape() {
  if (in_.size() < 2) return false;  // what follows at once makes it a Meta key; see end_escape()
  if (in_[1] == '\r' || in_[1] == '\n') {
    push(Key::new_line);
    in_.erase(0, 2);
    return true;
  }
  if (in_[1] == '\x1b') {
    in_.erase(0, 1);
    return true;
  }
  if (in_[1] != '[' && in_[1] != 'O') {
    const std::size_t n = character_bytes(static_cast<unsigned char>(in_[1]));
    if (n == 1) keys_.insert(keys_.end(), {kEscape, static_cast<wchar_t>(in_[1])});
    in_.erase(0, n == 1 ? 2 : 1);  // Meta with a letter beyond ASCII is the letter
    return true;
  }
  std::size_t end = 2;
  while (end < in_.size() && (in_[end] < 0x40 || in_[end] > 0x7E) && in_[end] >= 0x20) ++end;
  if (end == in_.size() && end < kSequenceBytesMax) return false;
  if (end == in_.size() || in_[end] < 0x20) {
    in_.erase(0, end);  // broken off by another key
    return true;
  }
  const std::string_view sequence = std::string_view(in_).substr(0, end + 1);
  if (sequence == kPasteBegins) pasting_.emplace();
  const std::string_view name = sequence.substr(2);
  const auto at = std::find_if(kSequences.begin(), kSequences.end(),
                               [&](const auto& s) { return s.first == name; });
  if (at != kSequences.end()) push(at->second);
  in_.erase(0, end + 1);
  return true;
}

bool KeyDecoder::take_character() {
  const std::size_t n = character_bytes(static_cast<unsigned char>(in_[0]));
  if (n > in_.size()) {
    const bool may_go_on = std::all_of(in_.begin() + 1, in_.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
    });
    if (may_go_on) return false;
  }
  const Character c = decode(in_);
  if (c.code < 0x80 || c.code >= 0xA0) keys_.push_back(static_cast<wchar_t>(c.code));
  in_.erase(0, c.bytes);
  return true;
}

bool KeyDecoder::take_paste() {
  const std::size_t end = in_.find(kPasteEnds);
  // The end's own beginning may be the last that came.
  const std::size_t n = end != std::string::npos
                            ? end
                            : in_.size() - std::min(in_.size(), kPasteEnds.size() - 1);
  pasting_->append(in_, 0,
                   std::min(n, kPasteBytesMax - std::min(kPasteBytesMax, pasting_->size())));
  in_.erase(0, n);
  if (end == std::string::npos) return false;
  in_.erase(0, kPasteEnds.size());
  pasted_.push_back(insertable(*pasting_));
  pasting_.reset();
  push(Key::pasted);
  return true;
}

}  // namespace lares::cli
