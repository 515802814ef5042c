#include "daemon/cli/terminal/markdown_table.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "daemon/cli/terminal/style_marks.h"
#include "daemon/cli/terminal/wrap.h"
#include "daemon/shown/text.h"
#include "tools/text.h"

namespace lares::cli {
namespace {

constexpr int kGap = 3;  // " | "

bool is_rule_cell(std::string_view cell) {
  if (cell.starts_with(':')) cell.remove_prefix(1);
  if (cell.ends_with(':')) cell.remove_suffix(1);
  return !cell.empty() && cell.find_first_not_of('-') == std::string_view::npos;
}

MarkdownTable::Align align_of(std::string_view rule) {
  using enum MarkdownTable::Align;
  if (!rule.ends_with(':')) return left;
  return rule.starts_with(':') ? centre : right;
}

// As wide as what is in them, or so that the widest ones share what the others leave. Nothing:
// there is no room.
std::vector<int> widths_of(const MarkdownTable& table, int room) {
  std::vector<int> widths(table.columns.size(), 1);
  for (const auto& row : table.rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
  room -= kGap * static_cast<int>(widths.size() - 1);
  std::vector<std::size_t> narrow_first(widths.size());
  std::iota(narrow_first.begin(), narrow_first.end(), std::size_t{0});
  std::ranges::stable_sort(narrow_first, {}, [&](std::size_t i) { return widths[i]; });
  int left = static_cast<int>(widths.size());
  for (const std::size_t i : narrow_first) {
    const int share = room / left--;
    if (share < std::min(widths[i], kTableColumnLeast)) return {};
    widths[i] = std::min(widths[i], share);
    room -= widths[i];
  }
  return widths;
}

// Each row begins and ends without a style.
std::vector<std::string> broken(std::string_view cell, int width) {
  Wrap wrap("", width + 1);
  std::string text = wrap.feed(cell);
  text += wrap.end();
  std::vector<std::string> rows;
  char style = kPlainMark;
  for (std::string_view rest = text;;) {
    const std::size_t end = rest.find('\n');
    const std::string_view row = rest.substr(0, end);
    std::string styled = style == kPlainMark ? "" : std::string(1, style);
    styled += row;
    if (const std::size_t last = row.find_last_of(kStyleMarks); last != std::string_view::npos)
      style = row[last];
    if (style != kPlainMark) styled += kPlainMark;
    rows.push_back(std::move(styled));
    if (end == std::string_view::npos) return rows;
    rest.remove_prefix(end + 1);
  }
}

std::string padded(const std::string& text, int width, MarkdownTable::Align align) {
  const auto room = static_cast<std::size_t>(std::max(0, width - columns(text)));
  const std::size_t before = align == MarkdownTable::Align::right    ? room
                             : align == MarkdownTable::Align::centre ? room / 2
                                                                     : 0;
  return std::string(before, ' ') + text + std::string(room - before, ' ');
}

std::string bold(std::string cell) {
  std::ranges::replace(cell, kPlainMark, kBoldMark);
  return kBoldMark + cell + kPlainMark;
}

std::string dim(std::string_view text) {
  std::string out(1, kDimMark);
  out += text;
  out += kPlainMark;
  return out;
}

}  // namespace

bool is_table_rule(std::string_view line) {
  const auto cells = table_cells(line);
  return !cells.empty() && std::ranges::all_of(cells, is_rule_cell);
}

std::vector<std::string> table_cells(std::string_view line) {
  line = tools::trimmed(line);
  if (line.starts_with('|')) line.remove_prefix(1);
  std::vector<std::string> cells(1);
  bool closed = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    closed = line[i] == '|';
    if (closed) {
      cells.emplace_back();
    } else {
      if (line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '|') ++i;
      cells.back() += line[i];
    }
  }
  if (closed) cells.pop_back();
  for (std::string& cell : cells) cell = std::string(tools::trimmed(cell));
  return cells;
}

MarkdownTable parse_table(const std::vector<std::string>& lines) {
  MarkdownTable table;
  if (lines.size() < 2 || !is_table_rule(lines[1])) return table;
  const auto rules = table_cells(lines[1]);
  table.rows.push_back(table_cells(lines[0]));
  if (table.rows[0].size() != rules.size()) return {};
  for (const auto& rule : rules) table.columns.push_back(align_of(rule));
  for (std::size_t i = 2; i < lines.size(); ++i) {
    auto cells = table_cells(lines[i]);
    for (std::size_t n = rules.size(); n < cells.size(); ++n)
      cells[rules.size() - 1] += " | " + cells[n];
    cells.resize(rules.size());
    table.rows.push_back(std::move(cells));
  }
  return table;
}

std::vector<std::string> table_rows(const MarkdownTable& table, int width, bool utf8) {
  std::vector<std::string> out;
  if (table.columns.empty()) return out;
  const auto widths = widths_of(table, width - 1);
  if (widths.empty()) return out;
  const std::string bar = dim(utf8 ? " │ " : " | ");
  const auto add = [&](const std::vector<std::string>& cells, bool head) {
    std::vector<std::vector<std::string>> parts;
    std::size_t n_rows = 0;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      parts.push_back(broken(head ? bold(cells[i]) : cells[i], widths[i]));
      n_rows = std::max(n_rows, parts.back().size());
    }
    for (std::size_t r = 0; r < n_rows; ++r) {
      std::string row;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const std::string text = r < parts[i].size() ? parts[i][r] : "";
        row += (i > 0 ? bar : "") + padded(text, widths[i], table.columns[i]);
      }
      row.erase(row.find_last_not_of(' ') + 1);
      if (row.ends_with(bar)) row.replace(row.size() - 2, 2, 1, kPlainMark);  // its last blank
      out.push_back(std::move(row));
    }
  };
  const auto& head = table.rows.front();
  if (std::ranges::any_of(head, [](const auto& cell) { return !cell.empty(); })) {
    add(head, /*head=*/true);
    std::string rule;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      if (i > 0) rule += utf8 ? "─┼─" : "-+-";
      for (int n = 0; n < widths[i]; ++n) rule += utf8 ? "─" : "-";
    }
    out.push_back(dim(rule));
  }
  for (std::size_t i = 1; i < table.rows.size(); ++i) add(table.rows[i], /*head=*/false);
  return out;
}

}  // namespace lares::cli
