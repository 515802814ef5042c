// What a terminal sends, as keys: UTF-8 becomes characters, the escape sequences of cursor keys
// become one code each, a bracketed paste becomes one piece of text, and what means nothing here is
// dropped instead of landing in the line as rubbish.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace lares::cli {

// Codes in the range of C1 controls: they are below libedit's 256 bindable keys, and no terminal
// that speaks UTF-8 sends them.
enum class Key : wchar_t {
  up = 0x80,
  down,
  left,
  right,
  home,
  end,
  erase,
  word_left,
  word_right,
  new_line,
  pasted,
  back_tab,
};

// As other editors have it: a person is slower, and a line across the world is seldom.
inline constexpr std::chrono::milliseconds kEscapeWithin{50};
// What a prompt may hold; the rest of a longer one is dropped
inline constexpr std::size_t kPasteBytesMax = 4u << 20;

class KeyDecoder {
 public:
  void feed(std::string_view bytes);
  // An Escape that may still become a Meta key or a sequence: what a terminal sends as one comes
  // within kEscapeWithin of it.
  bool escape_is_open() const { return !pasting_ && in_ == "\x1b"; }
  void end_escape() {
    if (escape_is_open()) in_.clear();
  }
  // The next key; none while the last sequence or character is incomplete, so nothing is ever cut
  // in two.
  std::optional<wchar_t> next();
  bool is_pasting() const { return pasting_.has_value(); }  // the end of a paste has not come yet
  std::string take_pasted();  // the text that goes with Key::pasted: insertable

 private:
  bool take_one();
  bool take_escape();
  bool take_character();
  bool take_paste();
  void push(Key key) { keys_.push_back(static_cast<wchar_t>(key)); }

  std::string in_;
  std::deque<wchar_t> keys_;
  std::deque<std::string> pasted_;
  std::optional<std::string> pasting_;
};

// Text from elsewhere, as it may stand in the line: line ends are '\n', other control characters
// are gone.
std::string insertable(std::string_view text);
std::wstring widen(std::string_view utf8);  // bytes that are not UTF-8 become U+FFFD
std::string narrow(std::wstring_view text);

}  // namespace lares::cli
