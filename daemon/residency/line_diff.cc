#include "daemon/residency/line_diff.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <span>

#include "tools/text.h"

namespace lares::daemon {
namespace {

using Lines = std::span<const std::string_view>;

constexpr std::string_view kNoNewline = "\\ No newline at end of file";

bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
         (c & 0x80) != 0;
}

bool is_label(std::string_view line) {
  return line == "public:" || line == "private:" || line == "protected:";
}

std::string_view without_end(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ' || line.back() == '\t'))
    line.remove_suffix(1);
  return line;
}

// As git's function context, for languages it knows nothing of: the last line above `line` of those
// indented least that begin with a name. "" when there is none.
std::string_view hint_above(Lines lines, std::size_t line) {
  std::string_view best;
  std::size_t least = std::numeric_limits<std::size_t>::max();
  for (std::size_t n = 0; line > 0 && n < kHintLinesMax && least > 0; ++n) {
    const std::string_view text = without_end(lines[--line]);
    const std::size_t indent = text.find_first_not_of(" \t");
    if (indent >= least || !starts_name(text[indent]) || is_label(text.substr(indent))) continue;
    least = indent;
    best = text;
  }
  return best.substr(0, tools::utf8_floor(best, kHintBytesMax));
}

// Where a hunk may begin, given where the one before it ended.
std::size_t search_start(Lines lines, std::size_t from, std::string_view hint) {
  if (hint.empty()) return from;
  for (std::size_t i = from; i < lines.size(); ++i) {
    if (lines[i].starts_with(hint)) return i + 1;
  }
  return from;  // the definition begins above the hunk before
}

std::size_t find_lines(Lines lines, std::size_t from, Lines wanted) {
  const auto begin = lines.begin() + static_cast<std::ptrdiff_t>(from);
  return static_cast<std::size_t>(std::search(begin, lines.end(), wanted.begin(), wanted.end()) -
                                  lines.begin());
}

void put_line(std::string& out, char mark, std::string_view line) {
  out += mark;
  out += line;
  if (line.ends_with('\n')) return;
  out += '\n';
  out += kNoNewline;
  out += '\n';
}

// The numbers of "@@ -12,7 +12,9 @@"; a count left out is 1.
struct Numbers {
  std::size_t old_start = 0, n_old = 1, new_start = 0, n_new = 1;
};
Numbers parse_numbers(std::string_view line) {
  Numbers out;
  const auto read = [&](char sign, std::size_t& start, std::size_t& n) {
    const char* end = line.data() + line.size();
    const char* at = line.data() + line.find(sign) + 1;
    at = std::from_chars(at, end, start).ptr;
    if (at < end && *at == ',') std::from_chars(at + 1, end, n);
  };
  read('-', out.old_start, out.n_old);
  read('+', out.new_start, out.n_new);
  return out;
}

}  // namespace

std::vector<std::string_view> lines_with_ends(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::size_t n = end == std::string_view::npos ? text.size() : end + 1;
    out.push_back(text.substr(0, n));
    text.remove_prefix(n);
  }
  return out;
}

std::vector<Hunk> find_hunks(std::string_view before, std::string_view after) {
  std::vector<Hunk> out;
  if (before == after) return out;
  const std::string diff = tools::unified_diff("f", before, after,
                                               std::numeric_limits<std::size_t>::max());
  const auto old_lines = lines_with_ends(before), new_lines = lines_with_ends(after);
  std::size_t i = 0, j = 0;
  bool header = true;  // "--- a/f", "+++ b/f"
  for (const std::string_view line : tools::split_lines(diff)) {
    if (line.starts_with("@@")) {
      header = false;
      const Numbers n = parse_numbers(line);
      // Of no lines, the number is that of the line above.
      i = n.n_old == 0 ? n.old_start : n.old_start - 1;
      j = n.n_new == 0 ? n.new_start : n.new_start - 1;
      out.push_back({.start = i, .n_old = n.n_old, .lines = {}});
      continue;
    }
    if (header || line.empty() || line.front() == '\\') continue;
    const char mark = line.front();
    out.back().lines.push_back({mark, mark == '+' ? new_lines[j] : old_lines[i]});
    if (mark != '+') ++i;
    if (mark != '-') ++j;
  }
  return out;
}

std::string write_diff(std::string_view before, std::string_view after) {
  const auto lines = lines_with_ends(before);
  std::string out;
  std::size_t from = 0;
  for (const Hunk& hunk : find_hunks(before, after)) {
    std::size_t start = hunk.start;
    std::string_view hint = hint_above(lines, start);
    const auto found = [&] {
      const Lines wanted = Lines(lines).subspan(start, hunk.start + hunk.n_old - start);
      return find_lines(lines, search_start(lines, from, hint), wanted) == start;
    };
    for (std::size_t lead = 3; !found(); lead *= 2) {
      if (start == from) {  // the first place there is, when no line is named
        hint = {};
        break;
      }
      start = hunk.start - std::min(lead, hunk.start - from);
      hint = hint_above(lines, start);
    }
    out += "@@";
    if (!hint.empty()) out.append(" ").append(hint);
    out += '\n';
    for (std::size_t i = start; i < hunk.start; ++i) put_line(out, ' ', lines[i]);
    for (const auto& line : hunk.lines) put_line(out, line.mark, line.text);
    from = hunk.start + hunk.n_old;
  }
  return out;
}

std::optional<std::string> apply_diff(std::string_view before, std::string_view diff) {
  const auto lines = lines_with_ends(before);
  const auto marks = lines_with_ends(diff);
  std::string out;
  std::size_t from = 0;
  for (std::size_t m = 0; m < marks.size();) {
    std::string_view header = marks[m];
    if (!header.starts_with("@@") || !header.ends_with('\n')) return std::nullopt;
    header.remove_suffix(1);
    std::vector<std::string_view> wanted;
    std::string replacement;
    for (++m; m < marks.size() && marks[m].front() != '@'; ++m) {
      const char mark = marks[m].front();
      std::string_view text = marks[m].substr(1);
      if ((mark != ' ' && mark != '-' && mark != '+') || !text.ends_with('\n')) return std::nullopt;
      const bool open = m + 1 < marks.size() && marks[m + 1].front() == '\\';
      if (open) {
        text.remove_suffix(1);
        ++m;
      }
      if (mark != '+') wanted.push_back(text);
      if (mark != '-') replacement += text;
    }
    const std::size_t start = search_start(lines, from,
                                           header.substr(std::min<std::size_t>(3, header.size())));
    const std::size_t at = find_lines(lines, start, wanted);
    if (at + wanted.size() > lines.size()) return std::nullopt;
    for (; from < at; ++from) out += lines[from];
    out += replacement;
    from += wanted.size();
  }
  for (; from < lines.size(); ++from) out += lines[from];
  return out;
}

}  // namespace lares::daemon
