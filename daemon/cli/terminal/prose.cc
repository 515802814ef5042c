#include "daemon/cli/terminal/prose.h"

#include <algorithm>
#include <utility>

#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

// Marks of a style from here on. They take no columns, and text that is printable has none.
constexpr char kPlain = 1, kBold = 2, kCode = 3, kDim = 4;
constexpr std::string_view kMarks = "\1\2\3\4";
constexpr std::size_t kFence = 3, kLevelsMax = 6, kNumberDigitsMax = 4;

std::size_t run_of(std::string_view text, std::size_t at, char c) {
  return std::min(text.find_first_not_of(c, at), text.size()) - at;
}

// Columns of the mark that a list's item begins with; 0: none. Npos: it may become one.
std::size_t item_mark(std::string_view line, std::size_t at) {
  std::size_t end = at;
  if (line[at] == '-' || line[at] == '*' || line[at] == '+') {
    end = at + 1;
  } else {
    while (end < line.size() && line[end] >= '0' && line[end] <= '9') ++end;
    if (end == at || end - at > kNumberDigitsMax) return 0;
    if (end == line.size()) return std::string_view::npos;
    if (line[end] != '.' && line[end] != ')') return 0;
    ++end;
  }
  if (end == line.size()) return std::string_view::npos;
  return line[end] == ' ' ? end + 1 : 0;
}

}  // namespace

Prose::Prose(const Terminal& terminal) : terminal_(terminal), wrap_("", terminal.width) {}

std::string Prose::feed(std::string_view text) {
  for (const char c : text) take(c);
  flush();
  return painted(std::exchange(out_, {}));
}

std::string Prose::end() {
  if (kind_ == Kind::undecided && !head_.empty()) kind_ = Kind::text, piece_ += head_;
  head_.clear();
  release();
  flush();
  out_ += wrap_.end();
  return painted(std::exchange(out_, {}));
}

void Prose::flush() { out_ += wrap_.feed(std::exchange(piece_, {})); }

void Prose::take(char c) {
  if (c == '\n') return end_line();
  if (kind_ == Kind::undecided) {
    head_ += c;
    return begin_line();
  }
  if (kind_ == Kind::text && terminal_.colour) return span(c);
  piece_ += c;
}

// What kind of line it is, as soon as that is known.
void Prose::begin_line() {
  const std::size_t at = head_.find_first_not_of(' ');
  if (at == std::string::npos) return;
  const std::size_t ticks = run_of(head_, at, '`'), hashes = run_of(head_, at, '#');
  std::size_t indent = 0;
  if (ticks > 0) {
    if (at + ticks == head_.size() && ticks < kFence) return;
    if (ticks >= kFence) kind_ = Kind::fence;
  } else if (hashes > 0 && !in_code_) {
    if (at + hashes == head_.size() && hashes <= kLevelsMax) return;
    if (hashes <= kLevelsMax && head_[at + hashes] == ' ') kind_ = Kind::heading;
  } else if (!in_code_) {
    indent = item_mark(head_, at);
    if (indent == std::string::npos) return;
  }
  if (kind_ == Kind::undecided) kind_ = in_code_ ? Kind::code : Kind::text;
  flush();  // of the lines above
  wrap_.hang(static_cast<int>(indent));
  wrap_.keep_lines(kind_ == Kind::code);
  if (terminal_.colour && kind_ == Kind::heading) piece_ += kBold;
  if (terminal_.colour && kind_ == Kind::fence) piece_ += kDim;
  const std::string head = std::exchange(head_, {});
  const std::size_t plain = kind_ == Kind::text ? std::max(at, indent) : head.size();
  piece_.append(head, 0, plain);
  for (const char c : std::string_view(head).substr(plain)) take(c);
}

void Prose::end_line() {
  if (kind_ == Kind::undecided) piece_ += std::exchange(head_, {});
  release();
  if (terminal_.colour && (kind_ == Kind::heading || kind_ == Kind::fence)) piece_ += kPlain;
  if (kind_ == Kind::fence) in_code_ = !in_code_;
  piece_ += '\n';
  flush();
  wrap_.hang(0);
  wrap_.keep_lines(false);
  kind_ = Kind::undecided;
}

// `code` and **bold**, once they end; what does not end in its line is what it looks like.
void Prose::span(char c) {
  if (span_.empty()) {
    if (c == '`' || c == '*')
      span_ = c;
    else
      piece_ += c;
    return;
  }
  const bool code = span_[0] == '`';
  if (!code && span_ == "*" && c != '*') {
    release();
    return span(c);
  }
  const bool opens = span_.size() == (code ? 1 : 2);
  span_ += c;
  if (opens && (c == ' ' || c == span_[0])) return release();
  if (span_.size() > kSpanBytesMax) return release();
  if (opens || c != span_[0]) return;
  if (code) {
    piece_ += kCode + span_.substr(1, span_.size() - 2) + kPlain;
    span_.clear();
  } else if (span_.ends_with("**") && span_.size() > 4 && span_[span_.size() - 3] != ' ') {
    emphasise(std::string_view(span_).substr(2, span_.size() - 4));
    span_.clear();
  }
}

void Prose::emphasise(std::string_view text) {
  piece_ += kBold;
  const bool codes = std::count(text.begin(), text.end(), '`') % 2 == 0;
  bool inside = false;
  for (const char c : text) {
    if (c == '`' && codes)
      piece_ += (inside = !inside) ? kCode : kBold;
    else
      piece_ += c;
  }
  piece_ += kPlain;
}

void Prose::release() { piece_ += std::exchange(span_, {}); }

std::string Prose::painted(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t n = std::min(text.find_first_of(kMarks), text.size());
    out += terminal_.paint(style_, text.substr(0, n));
    if (n < text.size())
      style_ = text[n] == kBold   ? Style::bold
               : text[n] == kCode ? Style::cyan
               : text[n] == kDim  ? Style::dim
                                  : Style::plain;
    text.remove_prefix(std::min(n + 1, text.size()));
  }
  return out;
}

}  // namespace lares::cli
