#include "daemon/cli/terminal/wrap.h"

#include <algorithm>
#include <utility>

#include "daemon/shown/text.h"

namespace lares::cli {

Wrap::Wrap(std::string prefix, int width)
    : prefix_(std::move(prefix)), prefix_columns_(columns(prefix_)), width_(width) {}

std::string Wrap::feed(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const char c = text[0];
    if (c == '\n' || (c == ' ' && !keeps_lines_)) {
      place_word(out);
      if (c == '\n') {
        ++line_feeds_;
        spaces_ = 0;
      } else {
        ++spaces_;
      }
      text.remove_prefix(1);
      continue;
    }
    // One whole character: its lead byte and whatever continuation bytes follow.
    std::size_t bytes = 1;
    while (bytes < text.size() && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) ++bytes;
    const std::string_view character = text.substr(0, bytes);
    const bool wide = columns(character) == 2;
    if (wide) place_word(out);
    word_ += character;
    if (wide) place_word(out);
    text.remove_prefix(bytes);
  }
  return out;
}

std::string Wrap::end() {
  std::string out;
  place_word(out);
  spaces_ = line_feeds_ = 0;
  return out;
}

void Wrap::begin_anew(int width) {
  width_ = width;
  started_ = false;
  spaces_ = line_feeds_ = column_ = row_begin_ = 0;
}

void Wrap::break_line(std::string& out) {
  out += '\n';
  out += prefix_;
  column_ = row_begin_ = prefix_columns_;
}

void Wrap::go_on_below(std::string& out) {
  break_line(out);
  if (2 * (prefix_columns_ + hang_) >= width_) return;
  out.append(static_cast<std::size_t>(hang_), ' ');
  column_ = row_begin_ = prefix_columns_ + hang_;
}

void Wrap::place_word(std::string& out) {
  if (word_.empty()) return;
  if (!started_) {
    out += prefix_;
    column_ = row_begin_ = prefix_columns_;
    started_ = true;
  } else {
    for (; line_feeds_ > 0; --line_feeds_) break_line(out);
  }
  line_feeds_ = 0;
  const int limit = width_ > prefix_columns_ + 1 ? width_ - 1 : 0;  // 0: no limit
  // Of what is still to be placed. Counted down, since a word may be megabytes: a minified file
  int rest_columns = columns(word_);
  if (limit > 0 && column_ > row_begin_ && column_ + spaces_ + rest_columns > limit) {
    go_on_below(out);
    spaces_ = 0;
  }
  if (limit > 0 && column_ + spaces_ > limit) spaces_ = 0;  // an indent wider than the line
  out.append(static_cast<std::size_t>(spaces_), ' ');
  column_ += spaces_;
  spaces_ = 0;
  std::string_view rest = word_;
  while (limit > 0 && rest_columns > limit - column_) {
    const std::size_t bytes = fitting_bytes(rest, limit - column_);
    if (bytes == 0 && column_ == row_begin_) break;  // a terminal narrower than one letter
    out += rest.substr(0, bytes);
    rest_columns -= columns(rest.substr(0, bytes));
    rest.remove_prefix(bytes);
    go_on_below(out);
  }
  out += rest;
  column_ += rest_columns;
  word_.clear();
}

std::vector<std::string_view> rows_of(std::string_view line, int width) {
  std::vector<std::string_view> rows;
  do {
    const std::size_t fitting = width > 0 ? fitting_bytes(line, width) : line.size();
    const std::size_t n = fitting > 0 || line.empty() ? fitting : decode(line).bytes;
    rows.push_back(line.substr(0, n));
    line.remove_prefix(n);
  } while (!line.empty());
  return rows;
}

std::string hanging(std::string_view row, int width) {
  if (width <= 0 || columns(row) < width) return std::string(row);
  constexpr std::size_t kIndentDefault = 4;
  const std::size_t name = std::min(row.find_first_not_of(' '), row.size()),
                    gap = row.find("  ", name);
  std::size_t indent = gap != std::string_view::npos ? row.find_first_not_of(' ', gap)
                       : name > 0                    ? name
                                                     : row.size();
  if (indent > static_cast<std::size_t>(width) / 2 ||
      columns(row.substr(0, indent)) != static_cast<int>(indent))
    indent = std::min(kIndentDefault, name);
  Wrap wrap(std::string(indent, ' '), width);
  std::string out = wrap.feed(row.substr(indent));
  out += wrap.end();
  return out.replace(0, indent, row.substr(0, indent));
}

std::string hanging_lines(std::string_view text, int width) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    out += hanging(text.substr(0, end), width);
    if (end == std::string_view::npos) break;
    out += '\n';
    text.remove_prefix(end + 1);
  }
  return out;
}

}  // namespace lares::cli
