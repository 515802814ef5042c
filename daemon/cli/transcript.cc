#include "daemon/cli/transcript.h"

#include "daemon/cli/terminal/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr int kProseColumnsMax = 100;  // longer lines are hard to read
constexpr int kSummaryColumnsMax = 200;
constexpr std::string_view kPlan = "plan";
// Of a prompt that is shown: of the lines that it has, and of the rows that they take, since one
// line may be a file.
constexpr std::size_t kPromptLinesMax = 12, kPromptRowsMax = 24;
constexpr std::size_t kFailedLinesMax = 6;  // of a call's output that is folded ...
constexpr int kFailedRowsMax = 3;           // ... and rows of each

std::string relative(const std::string& path, std::string_view root) {
  if (!root.empty() && path.starts_with(root) && path.size() > root.size() + 1 &&
      path[root.size()] == '/') {
    return path.substr(root.size() + 1);
  }
  return path;
}

// What a tool says of its own about an output, "[a new shell: ...]", and no list that a command
// printed.
bool is_remark(std::string_view line) {
  return line.size() > 2 && line.starts_with('[') && line.ends_with(']') && line[1] >= 'a' &&
         line[1] <= 'z';
}

// The line without `root` wherever a path below it begins.
std::string below_root(std::string_view line, std::string_view root) {
  std::string out(line);
  if (root.size() < 2) return out;
  const std::string prefix = std::string(root) + "/";
  for (std::size_t at = 0; (at = out.find(prefix, at)) != std::string::npos;) {
    constexpr std::string_view kBefore = " \t\"'`(<[=:,";  // what may stand before a path
    const bool begins = at == 0 || kBefore.find(out[at - 1]) != std::string_view::npos;
    const std::size_t end = at + prefix.size();
    const bool more = end < out.size() && kBefore.find(out[end]) == std::string_view::npos;
    if (begins && more)
      out.erase(at, prefix.size());
    else
      at = end;
  }
  return out;
}

std::string text_of(const nlohmann::json& arguments, const char* name) {
  const auto at = arguments.find(name);
  if (at == arguments.end()) return {};
  if (at->is_string()) return at->get<std::string>();
  return at->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  while (!lines.empty() && lines.back().find_first_not_of(' ') == std::string_view::npos)
    lines.pop_back();
  return lines;
}

// What a call says, as it was written.
std::string words_of_call(std::string_view tool, const nlohmann::json& arguments,
                          std::string_view root) {
  if (!arguments.is_object()) return {};
  if (tool == "bash") return text_of(arguments, "command");
  if (tool == kPlan) return {};  // its result is the plan
  std::string words;
  if (tool == "str_replace_editor") {
    words = text_of(arguments, "command") + " " + relative(text_of(arguments, "path"), root);
    const auto range = arguments.find("view_range");
    if (range != arguments.end() && range->is_array() && range->size() == 2) {
      words += fmt::format(" lines {}-{}", (*range)[0].dump(), (*range)[1].dump());
    }
    if (arguments.contains("insert_line"))
      words += " after line " + text_of(arguments, "insert_line");
    return words;
  }
  for (const auto& [name, value] : arguments.items()) {
    if (!words.empty()) words += ' ';
    // With a single argument its name says nothing new.
    if (arguments.size() > 1) words += name + "=";
    words += value.is_string() ? relative(value.get<std::string>(), root)
                               : text_of(arguments, name.c_str());
  }
  return words;
}

}  // namespace

std::string summarise_call(std::string_view tool, const nlohmann::json& arguments,
                           std::string_view root) {
  const std::string line = one_line(exact(words_of_call(tool, arguments, root)));
  if (tool == "bash" || tool == "str_replace_editor") return line;
  return clip(line, kSummaryColumnsMax, "...");
}

Transcript::Transcript(Screen& screen, Options options)
    : screen_(screen), options_(std::move(options)) {}

std::string Transcript::mark(std::string_view utf8, std::string_view ascii) const {
  return std::string(screen_.terminal().utf8 ? utf8 : ascii);
}

void Transcript::open_paragraph() {
  screen_.fresh_line();
  if (something_above_) screen_.line("");
  something_above_ = true;
}

int Transcript::thinking_columns() const {
  const int width = screen_.terminal().width;
  return width > 0 ? std::min(width, kProseColumnsMax) : width;
}

void Transcript::resized() {
  if (open_ == Open::nothing) return;
  aside();
  something_above_ = false;  // the same paragraph
}

// What is being written goes on behind what is said now, and no word of it is torn apart.
void Transcript::aside() {
  screen_.fresh_line();
  if (thinking_) thinking_->begin_anew(thinking_columns());
  if (prose_) prose_->begin_anew(screen_.terminal().width);
}

void Transcript::complete() {
  const bool was_empty = thinking_ ? thinking_->empty() : !prose_ || prose_->empty();
  const std::string out = thinking_ ? screen_.terminal().paint(Style::dim, thinking_->end())
                          : prose_  ? prose_->end()
                                    : "";
  if (out.empty()) return;
  if (was_empty) open_paragraph();
  screen_.write(out, thinking_ ? thinking_->column() : prose_->column());
}

void Transcript::said(std::string_view prompt, std::string_view how) {
  aside();
  open_paragraph();
  const Terminal& t = screen_.terminal();
  const std::string clean = printable(prompt);
  std::vector<std::string> rows;
  std::size_t shown = 0;
  const auto all = lines_of(clean);
  for (std::size_t i = 0; i < all.size(); ++i) {
    Wrap wrap("  ", t.width);
    std::string wrapped = wrap.feed(all[i]);
    wrapped += wrap.end();
    const auto parts = lines_of(wrapped);
    for (const auto part : parts) rows.emplace_back(part.substr(2));  // its indent
    if (parts.empty()) rows.emplace_back();
    if (i < kPromptLinesMax) shown = std::min(rows.size(), kPromptRowsMax);
  }
  std::string end;
  if (shown < rows.size())
    end += fmt::format(" {} {} more lines", mark("…", "..."),
                       grouped(static_cast<long long>(rows.size() - shown)));
  if (!how.empty()) end += fmt::format(" ({})", how);
  for (std::size_t i = 0; i < shown; ++i) {
    std::string row = (i == 0 ? t.paint(Style::cyan, mark("›", ">")) + " " : "  ") +
                      t.paint(Style::bold, rows[i]);
    if (i + 1 == shown && !end.empty()) {
      const bool fits = t.width == 0 || 2 + columns(rows[i]) + columns(end) < t.width;
      row += (fits ? "" : "\n ") + t.paint(Style::dim, end);
    }
    screen_.line(row);
  }
}

void Transcript::thought(std::string_view how_long) {
  close();
  open_paragraph();
  screen_.line(screen_.terminal().paint(Style::dim, mark("┆ ", ": ") + std::string(how_long)));
  something_above_ = false;  // what it led to follows at once
}

void Transcript::beginning(std::string_view text, std::size_t lines_max) {
  close();
  Prose prose(screen_.terminal());
  std::string wrapped = prose.feed(printable(text));
  wrapped += prose.end();
  const auto all = lines_of(wrapped);
  if (all.empty()) return;
  open_paragraph();
  const std::size_t shown = all.size() <= lines_max + 1 ? all.size() : lines_max;
  for (std::size_t i = 0; i < shown; ++i) screen_.line(all[i]);
  if (shown < all.size()) {
    screen_.line(screen_.terminal().paint(
        Style::dim, fmt::format("{} {} more lines", mark("…", "..."), all.size() - shown)));
  }
}

void Transcript::lines(std::string_view text) {
  aside();
  const std::string clean = printable(text);
  for (const auto line : lines_of(clean)) screen_.line(hanging(line, screen_.terminal().width));
  something_above_ = true;
}

void Transcript::think(std::string_view delta) {
  if (!options_.show_thinking) return;
  if (open_ != Open::thinking) {
    close();
    open_ = Open::thinking;
    thinking_.emplace(mark("┆ ", ": "), thinking_columns());
  }
  const bool was_empty = thinking_->empty();
  const std::string out = thinking_->feed(printable(delta));
  if (out.empty()) return;
  if (was_empty) open_paragraph();
  screen_.write(screen_.terminal().paint(Style::dim, out), thinking_->column());
}

void Transcript::text(std::string_view delta) {
  if (open_ != Open::text) {
    close();
    open_ = Open::text;
    prose_.emplace(screen_.terminal());
  }
  if (!options_.answer_live) {
    held_text_ += delta;
    return;
  }
  const bool was_empty = prose_->empty();
  const std::string out = prose_->feed(printable(delta));
  if (out.empty()) return;
  if (was_empty) open_paragraph();
  screen_.write(out, prose_->column());
}

void Transcript::close() {
  complete();
  if (!held_text_.empty()) {  // a call follows, so it was a comment and no answer
    const std::string text = printable(std::exchange(held_text_, {}));
    const auto lines = lines_of(text);
    if (!lines.empty()) open_paragraph();
    for (const auto line : lines) screen_.line(line);
  }
  screen_.fresh_line();
  thinking_.reset(), prose_.reset();
  open_ = Open::nothing;
}

std::string Transcript::call_summary(std::string_view tool, const nlohmann::json& arguments) const {
  const std::string summary = summarise_call(tool, arguments, root_);
  const int width = screen_.terminal().width;
  return width > 0 ? clip(summary, width - 1 - columns(one_line(tool)) - 3, mark("…", "~"))
                   : summary;
}

void Transcript::call(std::string_view tool, const nlohmann::json& arguments) {
  close();
  open_paragraph();
  const Terminal& t = screen_.terminal();
  tool_ = tool;
  const std::string name = one_line(tool), summary = call_summary(tool, arguments);
  called_whole_ = summary == words_of_call(tool, arguments, root_);
  screen_.line(t.paint(Style::cyan, mark("●", "*")) + " " + t.paint(Style::bold, name) +
               (summary.empty() ? "" : " " + summary));
}

void Transcript::result(bool ok, std::string_view output, const std::vector<ChangedFile>& changes) {
  close();
  if (ok && tool_ == kPlan) return show_plan(output);
  // An edit that worked says no more than its diff does.
  const bool said_by_diff = ok && tool_ == "str_replace_editor" && !changes.empty() &&
                            !changes.front().diff.empty();
  if (!said_by_diff && options_.fold_output) show_output_folded(ok, output);
  if (!said_by_diff && !options_.fold_output) show_output(ok, output);
  for (const auto& change : changes) {
    // An editor's call names its file; what a command changed, nobody has said yet.
    if (change.diff.empty() || tool_ != "str_replace_editor")
      screen_.line("  " + screen_.terminal().paint(Style::dim, "changed " + one_line(change.path)));
    diff(change, options_.output_lines_max * 3);
  }
}

// "[x] done", "[>] in work" and "[ ] to do", a step a line.
void Transcript::show_plan(std::string_view steps) {
  constexpr std::size_t kMark = 4;
  const Terminal& t = screen_.terminal();
  const std::string clean = printable(steps);
  for (const auto line : lines_of(clean)) {
    const bool done = line.starts_with("[x]"), now = line.starts_with("[>]");
    const std::string sign = mark(done ? "✓ " : now ? "▸ " : "○ ", line.substr(0, kMark));
    const std::string indent(2 + static_cast<std::size_t>(columns(sign)), ' ');
    Wrap wrap(indent, t.width);
    std::string text = wrap.feed(line.substr(std::min(kMark, line.size())));
    text += wrap.end();
    text.erase(0, indent.size());
    screen_.line("  " + t.paint(done ? Style::green : Style::plain, sign) +
                 t.paint(done  ? Style::dim
                         : now ? Style::bold
                               : Style::plain,
                         text));
  }
}

// Of what failed, how it ended; of anything else its beginning, and not what a tool remarks on it
// while there is more.
void Transcript::show_output_folded(bool ok, std::string_view output) {
  const Terminal& t = screen_.terminal();
  const std::string clean = printable(output);
  auto all = lines_of(clean);
  all.erase(all.begin(), std::find_if(all.begin(), all.end(), [](std::string_view line) {
              return line.find_first_not_of(' ') != std::string_view::npos;
            }));
  const std::string bar = "  " + t.paint(ok ? Style::dim : Style::red, mark("│", "|")) + " ";
  if (all.empty())
    return screen_.line(bar + t.paint(Style::dim, ok ? "(no output)" : "(failed, no output)"));
  const auto more = [&](std::size_t n) {
    return fmt::format("{} {} more {}", mark("…", "..."), grouped(static_cast<long long>(n)),
                       n == 1 ? "line" : "lines");
  };
  if (ok) {
    auto said = std::ranges::find_if(all, [](std::string_view line) {
      return !is_remark(line) && line.find_first_not_of(' ') != std::string_view::npos;
    });
    if (said == all.end()) said = all.begin();
    const std::string first = below_root(*said, root_);
    const std::string rest = all.size() > 1 ? " " + more(all.size() - 1) : "";
    return screen_.line(
        bar + (t.width > 0 ? clip(first, t.width - 5 - columns(rest), mark("…", "~")) : first) +
        t.paint(Style::dim, rest));
  }
  const std::size_t shown = all.size() > kFailedLinesMax + 1 ? kFailedLinesMax : all.size();
  if (shown < all.size()) screen_.line(bar + t.paint(Style::dim, more(all.size() - shown)));
  for (std::size_t i = all.size() - shown; i < all.size(); ++i) {
    Wrap wrap("", t.width > 0 ? t.width - 4 : 0);
    const std::string line = below_root(all[i], root_);
    std::string wrapped =
        wrap.feed(t.width > 0 ? clip(line, kFailedRowsMax * (t.width - 5), mark("…", "~")) : line);
    wrapped += wrap.end();
    for (const auto row : lines_of(wrapped)) screen_.line(bar + std::string(row));
  }
}

void Transcript::show_output(bool ok, std::string_view output) {
  const Terminal& t = screen_.terminal();
  const std::string clean = printable(output);
  const auto lines = lines_of(clean);
  const std::string bar = "  " + t.paint(ok ? Style::dim : Style::red, mark("│", "|")) + " ";
  const auto show = [&](std::string_view line) {
    screen_.line(bar + (t.width > 0 ? clip(line, t.width - 5, mark("…", "~")) : std::string(line)));
  };
  const auto total = lines.size(), most = static_cast<std::size_t>(options_.output_lines_max);
  if (total <= most + 1) {
    for (const auto line : lines) show(line);
    if (lines.empty())
      screen_.line(bar + t.paint(Style::dim, ok ? "(no output)" : "(failed, no output)"));
    return;
  }
  // The head says what ran, the tail how it ended.
  const std::size_t head = most / 3, tail = most - head;
  for (std::size_t i = 0; i < head; ++i) show(lines[i]);
  screen_.line(bar +
               t.paint(Style::dim, fmt::format("{} {} more lines", mark("…", "..."),
                                               grouped(static_cast<long long>(total - most)))));
  for (std::size_t i = total - tail; i < total; ++i) show(lines[i]);
}

void Transcript::diff(const ChangedFile& change, int lines_max) {
  const Terminal& t = screen_.terminal();
  const std::string clean = exact(change.diff);
  const auto all = lines_of(clean);
  const std::string indent = "  ";
  std::size_t shown = 0, skipped = 0;
  bool in_hunk = false;
  const auto most = static_cast<std::size_t>(lines_max);
  for (const auto line : all) {
    in_hunk = in_hunk || line.starts_with("@@");
    // ---, +++ and git's own headers, for the file is named already; and "@@" that names no place.
    if (!in_hunk || line == "@@") continue;
    if (shown == most) {
      ++skipped;
      continue;
    }
    ++shown;
    const Style style = line.starts_with("@@")  ? Style::cyan
                        : line.starts_with('+') ? Style::green
                        : line.starts_with('-') ? Style::red
                                                : Style::plain;
    const std::string cut = t.width > 0 ? clip(line, t.width - 3, mark("…", "~"))
                                        : std::string(line);
    screen_.line(indent + t.paint(style, cut));
  }
  if (skipped > 0) {
    screen_.line(indent + t.paint(Style::dim, fmt::format("{} {} more lines of diff",
                                                          mark("…", "..."), skipped)));
  }
}

// In rows of the terminal's width, with every space that it has: nothing is cut off.
void Transcript::asked(const shown::AskedCall& call) {
  close();
  const Terminal& t = screen_.terminal();
  const std::string bar = "  " + t.paint(Style::dim, mark("│", "|")) + " ";
  const auto room = [&](int indent) { return t.width > 0 ? t.width - 1 - indent : 0; };
  if (!called_whole_) {
    for (const auto line : lines_of(call.what))
      for (const auto row : rows_of(line, room(4))) screen_.line(bar + std::string(row));
  }
  for (const auto line : lines_of(call.lines)) {
    const Style style = line.starts_with('+')   ? Style::green
                        : line.starts_with('-') ? Style::red
                                                : Style::plain;
    for (const auto row : rows_of(line, room(2))) screen_.line("  " + t.paint(style, row));
  }
  if (!called_whole_ || !call.lines.empty()) something_above_ = true;
}

void Transcript::note(Style style, std::string_view line) {
  aside();
  screen_.line(screen_.terminal().paint(style, hanging(line, screen_.terminal().width)));
  something_above_ = true;
}

void Transcript::finish() {
  if (held_text_.empty() || open_ != Open::text) {
    close();
    return;
  }
  // As it is in a file or a pipe; a terminal gets it without what could command it.
  std::string answer = std::exchange(held_text_, {});
  if (::isatty(STDOUT_FILENO)) answer = printable(answer);
  answer.erase(0, std::min(answer.find_first_not_of('\n'), answer.size()));
  while (!answer.empty() && answer.back() == '\n') answer.pop_back();
  close();
  if (!answer.empty()) print_line(answer);
}

}  // namespace lares::cli
