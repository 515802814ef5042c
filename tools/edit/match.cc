#include "tools/edit/match.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

#include "tools/characters.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

// A text with something evened out, and where each of its bytes began in the original; at.back() is
// the original's size.
struct Evened {
  std::string text;
  std::vector<std::uint32_t> at;
};

// Told of an old_str that occurs more than once; who counts all of them in a large file waits long.
constexpr std::size_t kPlacesMax = 100;

enum class Level { line_ends, undecodable, trailing_blanks, characters };

struct CharacterFold {
  std::string_view from;
  char to;
};
// What editors and chat windows put in place of ASCII: quotes, dashes, spaces. One character for
// one, never more.
constexpr std::array<CharacterFold, 31> kCharacterFolds = {{
    {"\u2018", '\''}, {"\u2019", '\''}, {"\u201a", '\''}, {"\u201b", '\''}, {"\u201c", '"'},
    {"\u201d", '"'},  {"\u201e", '"'},  {"\u201f", '"'},  {"\u2010", '-'},  {"\u2011", '-'},
    {"\u2012", '-'},  {"\u2013", '-'},  {"\u2014", '-'},  {"\u2015", '-'},  {"\u2212", '-'},
    {"\u00a0", ' '},  {"\u2002", ' '},  {"\u2003", ' '},  {"\u2004", ' '},  {"\u2005", ' '},
    {"\u2006", ' '},  {"\u2007", ' '},  {"\u2008", ' '},  {"\u2009", ' '},  {"\u200a", ' '},
    {"\u202f", ' '},  {"\u205f", ' '},  {"\u3000", ' '},  {"\uff07", '\''}, {"\uff02", '"'},
    {"\uff0d", '-'},
}};

bool is_blank(char c) { return c == ' ' || c == '\t'; }

Evened even(std::string_view raw, Level level) {
  Evened out;
  out.text.reserve(raw.size());
  out.at.reserve(raw.size() + 1);
  const auto put = [&](char c, std::size_t at) {
    out.text += c;
    out.at.push_back(static_cast<std::uint32_t>(at));
  };
  const auto drop_trailing_blanks = [&] {
    while (!out.text.empty() && is_blank(out.text.back())) {
      out.text.pop_back();
      out.at.pop_back();
    }
  };
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const bool crlf = raw[i] == '\r' && i + 1 < raw.size() && raw[i + 1] == '\n';
    if (crlf || raw[i] == '\n') {
      if (level == Level::trailing_blanks) drop_trailing_blanks();
      put('\n', i);
      i += crlf;
      continue;
    }
    if (level == Level::undecodable && (raw[i] & 0x80)) {
      if (const std::size_t n = utf8_length(raw, i); n > 0) {
        for (std::size_t k = 0; k < n; ++k) put(raw[i + k], i + k);
        i += n - 1;
      } else {
        for (const char c : kReplacement) put(c, i);
        i += undecodable_length(raw, i) - 1;
      }
      continue;
    }
    if (level == Level::characters && (raw[i] & 0x80)) {
      const auto fold = std::find_if(
          kCharacterFolds.begin(), kCharacterFolds.end(),
          [&](const CharacterFold& f) { return raw.substr(i, f.from.size()) == f.from; });
      if (fold != kCharacterFolds.end()) {
        put(fold->to, i);
        i += fold->from.size() - 1;
        continue;
      }
    }
    put(raw[i], i);
  }
  if (level == Level::trailing_blanks) drop_trailing_blanks();
  out.at.push_back(static_cast<std::uint32_t>(raw.size()));
  return out;
}

std::size_t line_of(std::string_view text, std::size_t offset) {
  return 1 + static_cast<std::size_t>(std::count(
                 text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
}

// The line end a replacement takes: that of the line it begins in, or of the line before where that
// one has none.
bool wants_crlf(std::string_view raw, std::size_t begin) {
  std::size_t lf = raw.find('\n', begin);
  if (lf == std::string_view::npos) lf = raw.rfind('\n', begin);
  return lf != std::string_view::npos && lf > 0 && raw[lf - 1] == '\r';
}

std::string with_line_ends(std::string_view text, bool crlf, bool normalise) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n' && (crlf || normalise))
      continue;
    if (text[i] == '\n' && crlf) out += '\r';
    out += text[i];
  }
  return out;
}

// nullopt: nothing matches at this level.
std::optional<tl::expected<Replaced, Unmatched>> replace_at(Level level, std::string_view raw,
                                                            std::string_view old_str,
                                                            std::string_view new_str) {
  const Evened file = even(raw, level), old_ = even(old_str, level), new_ = even(new_str, level);
  if (old_.text.empty()) return std::nullopt;
  std::vector<std::size_t> found, lines;  // the second: of the first, each once
  std::size_t counted = 0, line = 1;
  for (std::size_t at = file.text.find(old_.text);
       at != std::string::npos && lines.size() < kPlacesMax;
       at = file.text.find(old_.text, at + 1)) {
    const std::size_t end = at + old_.text.size();
    // Blanks at the end of old_str were dropped: it may then only match up to the end of a line.
    const bool at_line_end = old_.text.back() == '\n' || end == file.text.size() ||
                             file.text[end] == '\n';
    if (level == Level::trailing_blanks && !at_line_end) continue;
    line += static_cast<std::size_t>(
        std::count(file.text.begin() + static_cast<std::ptrdiff_t>(counted),
                   file.text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
    counted = at;
    if (lines.empty() || lines.back() != line) lines.push_back(line);
    if (found.size() < 2) found.push_back(at);
  }
  if (found.empty()) return std::nullopt;
  if (found.size() > 1) return tl::unexpected(Unmatched{std::move(lines)});
  // Only what differs between the two is written, so that the rest keeps its own line ends, blanks
  // and quotes.
  const std::size_t n_old = old_.text.size(), n_new = new_.text.size(),
                    shorter = std::min(n_old, n_new);
  std::size_t prefix = 0, suffix = 0;
  while (prefix < shorter && old_.text[prefix] == new_.text[prefix]) ++prefix;
  while (suffix < shorter - prefix &&
         old_.text[n_old - 1 - suffix] == new_.text[n_new - 1 - suffix])
    ++suffix;
  // Characters stay whole: of one that is folded all bytes have the same place.
  prefix = utf8_floor(old_.text, prefix);
  suffix = n_old - utf8_ceiling(old_.text, n_old - suffix);
  const std::size_t from = found[0];
  const std::size_t new_begin = new_.at[prefix],
                    new_end = std::max<std::size_t>(new_.at[n_new - suffix], new_begin);
  const std::size_t place = from + prefix, end = file.at[from + n_old - suffix];
  const char next = new_begin < new_end ? new_str[new_begin] : end < raw.size() ? raw[end] : '\n';
  const bool after_trailing_blanks = level == Level::trailing_blanks && place > 0 &&
                                     file.text[place - 1] != '\n' &&
                                     (place == file.text.size() || file.text[place] == '\n');
  // What goes on a line takes the place of the blanks that end it.
  const std::size_t begin = after_trailing_blanks && next != '\n' && next != '\r'
                                ? file.at[place - 1] + 1
                                : file.at[place];
  // What stands for bytes that cannot be shown may stay where it is; nobody can write them.
  if (level == Level::undecodable &&
      new_str.substr(new_begin, new_end - new_begin).find(kReplacement) != std::string_view::npos)
    return std::nullopt;
  const bool typed_cr = old_str.find("\r\n") != std::string_view::npos;
  const bool crlf = wants_crlf(raw, file.at[from]);
  Replaced out;
  out.bytes.reserve(raw.size() + new_str.size());
  out.bytes.append(raw.substr(0, begin));
  out.bytes += with_line_ends(new_str.substr(new_begin, new_end - new_begin), crlf, typed_cr);
  out.bytes.append(raw.substr(end));
  if (out.bytes == raw) return std::nullopt;  // old and new differ only in what this level ignores
  out.line_first = line_of(file.text, from);
  out.line_last = line_of(file.text, from + n_old - (old_.text.back() == '\n' ? 1 : 0));
  return out;
}

std::string_view indent_of(std::string_view line) {
  std::size_t n = 0;
  while (n < line.size() && is_blank(line[n])) ++n;
  return line.substr(0, n);
}
bool is_blank_line(std::string_view line) { return indent_of(line).size() == line.size(); }

struct Shift {
  bool deeper = false;  // the file is indented by `by` more than old_str; else by less
  std::string by;
};

// How the file's lines from `first` on are indented relative to `old`, when by one and the same
// amount.
std::optional<Shift> shift_at(const std::vector<std::string_view>& file, std::size_t first,
                              const std::vector<std::string_view>& old) {
  std::optional<Shift> shift;
  for (std::size_t i = 0; i < old.size(); ++i) {
    const std::string_view a = file[first + i], b = old[i];
    if (is_blank_line(b)) {
      if (!is_blank_line(a)) return std::nullopt;
      continue;
    }
    const std::string_view a_in = indent_of(a), b_in = indent_of(b);
    if (a.substr(a_in.size()) != b.substr(b_in.size())) return std::nullopt;
    Shift here{a_in.size() >= b_in.size(), {}};
    const std::string_view longer = here.deeper ? a_in : b_in, rest = here.deeper ? b_in : a_in;
    if (!longer.ends_with(rest)) return std::nullopt;
    here.by = longer.substr(0, longer.size() - rest.size());
    if (shift && (shift->deeper != here.deeper || shift->by != here.by)) return std::nullopt;
    shift = here;
  }
  if (shift && shift->by.empty()) return std::nullopt;
  return shift;
}

std::optional<std::string> shifted(std::string_view text, const Shift& shift) {
  std::string out;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t lf = text.find('\n', begin);
    const std::size_t end = lf == std::string_view::npos ? text.size() : lf + 1;
    std::string_view line = text.substr(begin, end - begin);
    const std::string_view bare = line.substr(0, line.size() - (lf != std::string_view::npos));
    if (!is_blank_line(bare)) {
      if (shift.deeper) {
        out += shift.by;
      } else {
        if (!line.starts_with(shift.by)) return std::nullopt;
        line.remove_prefix(shift.by.size());
      }
    }
    out += line;
    begin = end;
  }
  return out;
}

std::optional<tl::expected<Replaced, Unmatched>> replace_shifted(std::string_view raw,
                                                                 std::string_view old_str,
                                                                 std::string_view new_str) {
  const std::string text = even(raw, Level::trailing_blanks).text,
                    old_text = even(old_str, Level::trailing_blanks).text;
  const std::vector<std::string_view> file = split_lines(text), old = split_lines(old_text);
  if (old.empty() || old.size() > file.size() || std::all_of(old.begin(), old.end(), is_blank_line))
    return std::nullopt;
  std::vector<std::pair<std::size_t, Shift>> found;
  for (std::size_t i = 0; i + old.size() <= file.size(); ++i) {
    if (auto shift = shift_at(file, i, old)) found.emplace_back(i, std::move(*shift));
    if (found.size() == kPlacesMax) break;
  }
  if (found.empty()) return std::nullopt;
  if (found.size() > 1) {
    Unmatched several;
    for (const auto& [line, shift] : found) several.lines.push_back(line + 1);
    return tl::unexpected(std::move(several));
  }
  const auto old_shifted = shifted(old_str, found[0].second),
             new_shifted = shifted(new_str, found[0].second);
  if (!old_shifted || !new_shifted) return std::nullopt;
  return replace_at(Level::trailing_blanks, raw, *old_shifted, *new_shifted);
}

std::vector<std::uint32_t> trigrams(std::string_view line) {
  std::vector<std::uint32_t> out;
  for (std::size_t i = 0; i + 3 <= line.size(); ++i) {
    out.push_back(static_cast<unsigned char>(line[i]) << 16 |
                  static_cast<unsigned char>(line[i + 1]) << 8 |
                  static_cast<unsigned char>(line[i + 2]));
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

double dice(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) {
  std::vector<std::uint32_t> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return a.empty() && b.empty()
             ? 0
             : 2.0 * static_cast<double>(both.size()) / static_cast<double>(a.size() + b.size());
}

std::string_view trimmed(std::string_view line) {
  line.remove_prefix(indent_of(line).size());
  while (!line.empty() && (is_blank(line.back()) || line.back() == '\r')) line.remove_suffix(1);
  return line;
}

constexpr std::size_t kSearchLinesMax = 50'000, kSearchLineBytesMax = 400;
constexpr std::size_t kShownLinesMax = 40, kShownBytesMax = 4000, kContextLines = 5;
constexpr double kAlikeMin = 0.3;  // Dice coefficient of trigrams below which a line is no help

// The first line (0-based) of the window most like `old`.
std::optional<std::size_t> nearest_window(const std::vector<std::string_view>& file,
                                          const std::vector<std::string_view>& old) {
  const std::size_t n = std::min(file.size(), kSearchLinesMax);
  std::unordered_map<std::string_view, std::size_t> weight;
  for (std::string_view line : old) {
    if (const auto t = trimmed(line); t.size() > 2) weight[t] = std::min<std::size_t>(t.size(), 40);
  }
  std::vector<std::size_t> score(n + 1, 0);  // prefix sums
  for (std::size_t i = 0; i < n; ++i) {
    const auto it = weight.find(trimmed(file[i]));
    score[i + 1] = score[i] + (it == weight.end() ? 0 : it->second);
  }
  std::size_t best = 0, best_score = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t here = score[std::min(n, i + old.size())] - score[i];
    if (here > best_score) best = i, best_score = here;
  }
  if (best_score > 0) return best;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < old.size(); ++i) {
    if (trimmed(old[i]).size() > trimmed(old[longest]).size()) longest = i;
  }
  const auto wanted = trigrams(trimmed(old[longest]).substr(0, kSearchLineBytesMax));
  double alike = kAlikeMin;
  std::optional<std::size_t> line;
  for (std::size_t i = 0; i < n; ++i) {
    const double here = dice(wanted, trigrams(trimmed(file[i]).substr(0, kSearchLineBytesMax)));
    if (here > alike) line = i, alike = here;
  }
  if (line) return *line - std::min(*line, longest);
  return std::nullopt;
}

// What is left when the "%6d  " (or "N<tab>") of a view is taken off every line; nullopt when some
// line has none.
std::optional<std::string> without_numbers(std::string_view old_str) {
  std::string out;
  for (std::string_view line : split_lines(old_str)) {
    std::size_t i = indent_of(line).size();
    const std::size_t digits = i;
    while (i < line.size() && line[i] >= '0' && line[i] <= '9') ++i;
    if (i == digits) return std::nullopt;
    if (line.substr(i).starts_with("  "))
      i += 2;
    else if (line.substr(i).starts_with('\t'))
      i += 1;
    else if (i != line.size())
      return std::nullopt;
    out.append(line.substr(i)).append("\n");
  }
  if (!out.empty() && !old_str.ends_with('\n')) out.pop_back();
  return out;
}

std::string unescaped(std::string_view s) {
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\\' && i + 1 < s.size() &&
        (s[i + 1] == 'n' || s[i + 1] == 't' || s[i + 1] == '"')) {
      ++i;
      out += s[i] == 'n' ? '\n' : s[i] == 't' ? '\t' : '"';
    } else {
      out += s[i];
    }
  }
  return out;
}

}  // namespace

tl::expected<Replaced, Unmatched> replace_unique(std::string_view bytes, std::string_view old_str,
                                                 std::string_view new_str) {
  if (auto done = replace_at(Level::line_ends, bytes, old_str, new_str)) {
    const bool cr_only_in_old = old_str.find("\r\n") != std::string_view::npos &&
                                bytes.find(old_str) == std::string_view::npos;
    if (*done && cr_only_in_old) (*done)->relaxed = "line ends";
    return std::move(*done);
  }
  if (old_str.find(kReplacement) != std::string_view::npos)
    if (auto done = replace_at(Level::undecodable, bytes, old_str, new_str))
      return std::move(*done);  // verbatim, as it was shown
  if (auto done = replace_at(Level::trailing_blanks, bytes, old_str, new_str)) {
    if (*done) (*done)->relaxed = "trailing blanks";
    return std::move(*done);
  }
  if (auto done = replace_shifted(bytes, old_str, new_str)) {
    if (*done) (*done)->relaxed = "indentation";
    return std::move(*done);
  }
  if (auto done = replace_at(Level::characters, bytes, old_str, new_str)) {
    if (*done) (*done)->relaxed = "the kind of quotes, dashes and spaces";
    return std::move(*done);
  }
  return tl::unexpected(Unmatched{});
}

std::string explain_miss(std::string_view shown, std::string_view old_str) {
  std::string out;
  if (const auto bare = without_numbers(old_str);
      bare && !bare->empty() && shown.find(*bare) != std::string::npos) {
    out += "old_str contains the line numbers of the view; leave them out.\n";
  } else if (const auto plain = unescaped(old_str);
             plain != old_str && shown.find(plain) != std::string::npos) {
    out +=
        "old_str contains escape sequences such as \\n where the file has the characters "
        "themselves.\n";
  } else if (old_str.find(kReplacement) != std::string_view::npos &&
             shown.find(old_str) != std::string_view::npos) {
    return "\uFFFD stands for bytes of the file that are no UTF-8, which nothing can be written "
           "for: "
           "change one place beside it at a time, or the file by bash.\n";
  }
  const auto file = split_lines(shown), old = split_lines(old_str);
  if (file.empty() || old.empty()) return out;
  const auto first = nearest_window(file, old);
  if (!first) return out;
  const std::size_t begin = *first - std::min(*first, kContextLines);
  const std::size_t end =
      std::min({file.size(), *first + old.size() + kContextLines, begin + kShownLinesMax});
  std::string lines = numbered(file, begin + 1, end);
  if (lines.size() > kShownBytesMax)
    lines = lines.substr(0, utf8_floor(lines, kShownBytesMax)) + "...\n";
  return out + "The nearest lines of the file are:\n" + lines;
}

std::string numbered(const std::vector<std::string_view>& lines, std::size_t first,
                     std::size_t last) {
  std::string out;
  for (std::size_t i = first; i <= last && i <= lines.size(); ++i) {
    fmt::format_to(std::back_inserter(out), "{:6}  {}\n", i, lines[i - 1]);
  }
  return out;
}

}  // namespace lares::tools
