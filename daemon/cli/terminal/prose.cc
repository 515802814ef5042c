#include "daemon/cli/terminal/prose.h"

#include <algorithm>
#include <utility>

#include "daemon/cli/terminal/markdown_table.h"
#include "daemon/cli/terminal/style_marks.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

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
  if (kind_ == Kind::row) table_.push_back(std::exchange(head_, {})), kind_ = Kind::undecided;
  end_table();
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
  if (kind_ == Kind::undecided || kind_ == Kind::row) {
    head_ += c;
    return kind_ == Kind::row ? void() : begin_line();
  }
  if (kind_ == Kind::text && terminal_.colour) return span(c);
  piece_ += c;
}

// What kind of line it is, as soon as that is known.
void Prose::begin_line() {
  const std::size_t at = head_.find_first_not_of(' ');
  if (at == std::string::npos) return;
  if (head_[at] == '|' && !in_code_ && terminal_.width > 0) {
    kind_ = Kind::row;
    return;
  }
  end_table();
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
  if (terminal_.colour && kind_ == Kind::heading) piece_ += kBoldMark;
  if (terminal_.colour && kind_ == Kind::fence) piece_ += kDimMark;
  const std::string head = std::exchange(head_, {});
  const std::size_t plain = kind_ == Kind::text ? std::max(at, indent) : head.size();
  piece_.append(head, 0, plain);
  for (const char c : std::string_view(head).substr(plain)) take(c);
}

void Prose::end_line() {
  if (kind_ == Kind::row) return end_row();
  end_table();
  if (kind_ == Kind::undecided) piece_ += std::exchange(head_, {});
  release();
  if (terminal_.colour && (kind_ == Kind::heading || kind_ == Kind::fence)) piece_ += kPlainMark;
  if (kind_ == Kind::fence) in_code_ = !in_code_;
  piece_ += '\n';
  flush();
  wrap_.hang(0);
  wrap_.keep_lines(false);
  kind_ = Kind::undecided;
}

void Prose::end_row() {
  table_bytes_ += head_.size();
  table_.push_back(std::exchange(head_, {}));
  kind_ = Kind::undecided;
  const bool is_one = table_.size() < 2 || is_table_rule(table_[1]);
  if (!is_one || table_bytes_ > kTableBytesMax) end_table();
}

// What is held back of one, or of what looked like one. The line behind it is not begun.
void Prose::end_table() {
  if (table_.empty()) return;
  const auto lines = std::exchange(table_, {});
  table_bytes_ = 0;
  const std::string& first = lines.front();
  const std::string indent = first.substr(0, first.find('|'));
  MarkdownTable table = parse_table(lines);
  for (auto& row : table.rows)
    for (auto& cell : row) cell = with_marks(cell);
  const int room = terminal_.width - static_cast<int>(indent.size());
  const auto rows = table_rows(table, room, terminal_.utf8);
  flush();  // of the lines above
  wrap_.hang(0);
  wrap_.keep_lines(!rows.empty());
  for (const auto& row : rows) piece_ += indent + row + '\n';
  if (rows.empty())
    for (const auto& line : lines) piece_ += with_marks(line) + '\n';
  flush();
  wrap_.keep_lines(false);
}

std::string Prose::with_marks(std::string_view line) {
  if (!terminal_.colour) return std::string(line);
  const std::string before = std::exchange(piece_, {});
  for (const char c : line) span(c);
  release();
  return std::exchange(piece_, before);
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
    piece_ += kCodeMark + span_.substr(1, span_.size() - 2) + kPlainMark;
    span_.clear();
  } else if (span_.ends_with("**") && span_.size() > 4 && span_[span_.size() - 3] != ' ') {
    emphasise(std::string_view(span_).substr(2, span_.size() - 4));
    span_.clear();
  }
}

void Prose::emphasise(std::string_view text) {
  piece_ += kBoldMark;
  const bool codes = std::count(text.begin(), text.end(), '`') % 2 == 0;
  bool inside = false;
  for (const char c : text) {
    if (c == '`' && codes)
      piece_ += (inside = !inside) ? kCodeMark : kBoldMark;
    else
      piece_ += c;
  }
  piece_ += kPlainMark;
}

void Prose::release() { piece_ += std::exchange(span_, {}); }

std::string Prose::painted(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t n = std::min(text.find_first_of(kStyleMarks), text.size());
    out += terminal_.paint(style_, text.substr(0, n));
    if (n < text.size())
      style_ = text[n] == kBoldMark   ? Style::bold
               : text[n] == kCodeMark ? Style::cyan
               : text[n] == kDimMark  ? Style::dim
                                      : Style::plain;
    text.remove_prefix(std::min(n + 1, text.size()));
  }
  return out;
}

}  // namespace lares::cli
