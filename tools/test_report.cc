#include "tools/test_report.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::size_t kLineBytesMax = 300;
constexpr std::size_t kTailLines = 20, kPlaceLinesMax = 20;

// "src/a.c:12: ..." or "src/a.c:12:5: ...".
bool names_a_place(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == 0 || colon == std::string_view::npos) return false;
  const std::string_view file = line.substr(0, colon);
  if (file.find_first_of(" \t\"'()") != std::string_view::npos || file.find('.') == std::string_view::npos) return false;
  std::size_t i = colon + 1;
  while (i < line.size() && line[i] >= '0' && line[i] <= '9') ++i;
  return i > colon + 1 && i < line.size() && line[i] == ':';
}

std::string tests(int n) { return fmt::format("{} test{}", n, n == 1 ? "" : "s"); }

// For runners without structure: the lines that name a place, else the end.
std::string unstructured(std::string_view output) {
  std::vector<std::string> places, warnings;
  for (std::string_view line : split_lines(output)) {
    line = trim(line);
    if (!names_a_place(line)) continue;
    const bool minor = line.find(": warning:") != std::string_view::npos || line.find(": note:") != std::string_view::npos;
    auto& to = minor ? warnings : places;
    const std::string text = bounded_line(line);
    if (std::find(to.begin(), to.end(), text) == to.end()) to.push_back(text);
  }
  std::string out;
  if (!places.empty()) {
    for (std::size_t i = 0; i < places.size() && i < kPlaceLinesMax; ++i) out += "\n  " + places[i];
    if (places.size() > kPlaceLinesMax) out += fmt::format("\n  [{} more lines]", places.size() - kPlaceLinesMax);
    return out;
  }
  std::vector<std::string_view> lines;
  for (std::string_view line : split_lines(output)) {
    if (!trim(line).empty()) lines.push_back(line);
  }
  for (std::size_t i = lines.size() - std::min(lines.size(), kTailLines); i < lines.size(); ++i) {
    out += "\n  " + bounded_line(lines[i]);
  }
  return out;
}

TestCounts count(const Runner& runner, std::string_view output, const RootedFs& files) {
  TestCounts counts;
  switch (runner.kind) {
    case RunnerKind::unittest: counts = parse_unittest(output, files, runner.cwd); break;
    case RunnerKind::pytest: counts = parse_pytest(output, files, runner.cwd); break;
    case RunnerKind::node: counts = parse_node(output, files, runner.cwd); break;
    case RunnerKind::cargo: counts = parse_cargo(output, files, runner.cwd); break;
    case RunnerKind::go: counts = parse_go(output, files, runner.cwd); break;
    case RunnerKind::ctest: counts = parse_ctest(output); break;
    case RunnerKind::generic: break;
  }
  return counts;
}

TestReport told(const Runner& runner, std::string_view output, const std::string& status, const TestCounts& counts) {
  const std::string skipped = counts.skipped ? fmt::format(", {} skipped", counts.skipped) : "";
  const std::string note = runner.note.empty() ? "" : "\n[" + runner.note + "]";
  if (counts.known && counts.failed == 0 && status.empty()) {
    if (counts.total == 0 && counts.skipped == 0) return {fmt::format("no tests ran ({})", runner.shown) + note, false};
    return {fmt::format("{} passed{} ({})", tests(counts.total), skipped, runner.shown) + note, true};
  }
  if (!counts.known && status.empty()) return {fmt::format("tests passed ({})", runner.shown) + note, true};
  if (!counts.known || counts.failed == 0) {  // it failed, and not in a test
    const std::string how = status.empty() ? "" : ", " + status;
    return {fmt::format("tests failed ({}{})", runner.shown, how) + unstructured(output) + note, false};
  }
  std::string text = fmt::format("{} of {} failed{} ({})", counts.failed, tests(counts.total), skipped, runner.shown);
  std::size_t n_shown = 0;
  for (const TestFailure& failure : counts.failures) {
    std::string block = "\nFAIL ";
    if (!failure.file.empty()) block += failure.file;
    if (!failure.file.empty() && failure.line > 0) block += fmt::format(":{}", failure.line);
    if (!failure.file.empty()) block += ' ';
    block += failure.name;
    for (const std::string& line : failure.detail) block += "\n  " + line;
    if (n_shown == kFailuresMax || text.size() + block.size() > kReportBytesMax) break;
    text += block;
    ++n_shown;
  }
  if (n_shown < counts.failures.size()) text += fmt::format("\n[{} more failures]", counts.failures.size() - n_shown);
  return {text + note, false};
}

}  // namespace

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

std::string bounded_line(std::string_view text) {
  if (text.size() <= kLineBytesMax) return std::string(text);
  return std::string(text.substr(0, utf8_floor(text, kLineBytesMax))) + "...";
}

std::string relative_to_root(std::string path, const RootedFs& files, const std::string& cwd) {
  if (path.starts_with("file://")) path.erase(0, 7);
  if (path.empty() || path.front() == '<') return "";
  if (path.front() != '/') path = cwd + "/" + path;
  const std::string normal = std::filesystem::path(path).lexically_normal().string();
  return files.relative(normal).value_or("");
}

std::string source_line(const RootedFs& files, const std::string& path, int line) {
  const auto data = files.read(path, 4 << 20);
  if (!data || line < 1) return "";
  const std::string text = shown_text(data->bytes);
  const auto lines = split_lines(text);
  return static_cast<std::size_t>(line) <= lines.size() ? bounded_line(trim(lines[static_cast<std::size_t>(line) - 1])) : "";
}

TestReport report(const Runner& runner, std::string_view output, const std::string& status, const RootedFs& files) {
  TestCounts counts = count(runner, output, files);
  TestReport out = told(runner, output, status, counts);
  out.counts = std::move(counts);
  return out;
}

}  // namespace lares::tools
