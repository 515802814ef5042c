#include "tools/testing/report.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "tools/testing/go_events.h"
#include "tools/testing/runner_output.h"
#include "tools/text.h"
#include "tools/workspace/kept_back.h"
#include "tools/workspace/rules.h"

namespace lares::tools {
namespace {

constexpr std::size_t kLineBytesMax = 300;
constexpr std::size_t kTailLines = 20, kPlaceLinesMax = 20;
constexpr std::uint64_t kSourceBytesMax = 4 << 20;

// "src/a.c:12: ..." or "src/a.c:12:5: ...".
bool names_a_place(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == 0 || colon == std::string_view::npos) return false;
  const std::string_view file = line.substr(0, colon);
  if (file.find_first_of(" \t\"'()") != std::string_view::npos ||
      file.find('.') == std::string_view::npos)
    return false;
  std::size_t i = colon + 1;
  while (i < line.size() && line[i] >= '0' && line[i] <= '9') ++i;
  return i > colon + 1 && i < line.size() && line[i] == ':';
}

std::string tests(int n) { return fmt::format("{} test{}", n, n == 1 ? "" : "s"); }

// rustc names the place on the line below: "error[E0308]: mismatched types" and "  -->
// src/lib.rs:27:26".
std::vector<std::string_view> with_arrows_joined(const std::vector<std::string_view>& lines,
                                                 std::vector<std::string>& joined) {
  std::vector<std::string_view> out;
  joined.reserve(lines.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view next = i + 1 < lines.size() ? trim(lines[i + 1]) : "";
    if (next.starts_with("--> ") && names_a_place(std::string(next.substr(4)) + ":")) {
      joined.push_back(std::string(next.substr(4)) + ": " + std::string(trim(lines[i])));
      out.push_back(joined.back());
      ++i;
    } else {
      out.push_back(lines[i]);
    }
  }
  return out;
}

// For runners without structure: the lines that name a place, else the end.
std::string unstructured(std::string_view output, const RootedFs& files, const std::string& cwd) {
  std::vector<std::string> places, warnings, joined;
  std::set<std::string> known;
  const auto all = with_arrows_joined(split_lines(output), joined);
  for (std::string_view line : all) {
    line = trim(line);
    TestFailure place;
    std::string_view message;
    if (!names_a_place(line) && !read_place(line, files, cwd, place, message)) continue;
    const bool minor = line.find(": warning:") != std::string_view::npos ||
                       line.find(": note:") != std::string_view::npos ||
                       message.starts_with("warning");
    auto& to = minor ? warnings : places;
    std::string text = bounded_line(line);
    if (known.insert(text).second) to.push_back(std::move(text));
  }
  std::string out;
  if (!places.empty()) {
    for (std::size_t i = 0; i < places.size() && i < kPlaceLinesMax; ++i) out += "\n  " + places[i];
    if (places.size() > kPlaceLinesMax)
      out += fmt::format("\n  [{} more lines]", places.size() - kPlaceLinesMax);
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
    case RunnerKind::unittest:
      counts = parse_unittest(output, files, runner.cwd);
      break;
    case RunnerKind::pytest:
      counts = parse_pytest(output, files, runner.cwd);
      break;
    case RunnerKind::node:
      counts = parse_node(output, files, runner.cwd);
      break;
    case RunnerKind::jest:
      counts = parse_jest(output, files, runner.cwd);
      break;
    case RunnerKind::cargo:
      counts = parse_cargo(output, files, runner.cwd);
      break;
    case RunnerKind::go:
      counts = parse_go(output, files, runner.cwd);
      break;
    case RunnerKind::ctest:
      counts = parse_ctest(output, files, runner.cwd);
      break;
    case RunnerKind::generic:
      counts = parse_any(output, files, runner.cwd);
      break;
  }
  return counts;
}

// Trimmed. "" also of what `view` keeps back, for the path is one that a command printed, and it
// may name what the sandbox hides: secrets, git's and Lares' own files, by a link too.
std::string source_line(const RootedFs& files, const std::string& path, int line) {
  if (path.empty() || line < 1) return "";
  const auto data = files.read(path, kSourceBytesMax);
  if (!data || is_kept_back(files, data->path)) return "";
  const std::string text = shown_text(data->bytes);
  if (is_secret_text(data->path, text)) return "";
  const auto lines = split_lines(text);
  return static_cast<std::size_t>(line) <= lines.size()
             ? bounded_line(trim(lines[static_cast<std::size_t>(line) - 1]))
             : "";
}

// "FAIL src/a_test.py:3 name", the source line, where the error rose, and what was said.
std::string told_failure(const TestFailure& failure, const RootedFs& files) {
  std::string out = "\nFAIL ";
  if (!failure.file.empty()) out += failure.file;
  if (!failure.file.empty() && failure.line > 0) out += fmt::format(":{}", failure.line);
  if (!failure.file.empty()) out += ' ';
  out += failure.name;
  if (const auto source = source_line(files, failure.file, failure.line); !source.empty())
    out += "\n  " + source;
  if (const TestPlace& rose = failure.rose; !rose.file.empty())
    out += fmt::format("\n  at {}:{}: {}", rose.file, rose.line,
                       source_line(files, rose.file, rose.line));
  for (const std::string& line : failure.detail) out += "\n  " + line;
  return out;
}

TestReport told(const Runner& runner, std::string_view output, const std::string& status,
                const TestCounts& counts, const RootedFs& files) {
  const bool short_output = output.size() <= kOutputKnownBytes;
  const std::string skipped = counts.skipped ? fmt::format(", {} skipped", counts.skipped) : "";
  const std::string note = runner.note.empty() ? "" : "\n[" + runner.note + "]";
  const std::string how = status.empty() ? "" : ", " + status;
  if (counts.none && !counts.besides.empty())
    return {fmt::format("no tests ran ({}{})", runner.shown, how) +
                unstructured(counts.besides, files, runner.cwd) + note,
            false, short_output};
  if (counts.none) return {fmt::format("no tests ran ({})", runner.shown) + note, false};
  if (counts.known && counts.failed == 0 && status.empty()) {
    // Those whose names do not fit count as skipped.
    const bool filtered = runner.filtered &&
                          (runner.kind == RunnerKind::jest || runner.kind == RunnerKind::node);
    if (counts.total == 0 && (counts.skipped == 0 || filtered))
      return {fmt::format("no tests ran{} ({})", skipped, runner.shown) + note, false};
    return {fmt::format("{} passed{} ({})", tests(counts.total), skipped, runner.shown) + note,
            true};
  }
  if (!counts.known && status.empty())
    return {fmt::format("tests passed ({})", runner.shown) + note, true};
  if (!counts.known || counts.failed == 0) {  // it failed, and not in a test
    return {fmt::format("tests failed ({}{})", runner.shown, how) +
                unstructured(output, files, runner.cwd) + note,
            false, short_output};
  }
  std::string text = fmt::format("{} of {} failed{} ({})", counts.failed, tests(counts.total),
                                 skipped, runner.shown);
  std::size_t n_shown = 0;
  for (const TestFailure& failure : counts.failures) {
    if (n_shown == kFailuresMax) break;
    const std::string block = told_failure(failure, files);
    if (text.size() + block.size() > kReportBytesMax) break;
    text += block;
    ++n_shown;
  }
  // Told by numbers alone, as by a runner that is asked for no tracebacks.
  if (counts.failures.empty()) text += unstructured(output, files, runner.cwd);
  const bool all = n_shown == counts.failures.size();
  if (!all) text += fmt::format("\n[{} more failures]", counts.failures.size() - n_shown);
  return {text + note, false, all && short_output};
}

}  // namespace

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

int number_at(std::string_view text) {
  int n = 0;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
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

bool read_place(std::string_view text, const RootedFs& files, const std::string& cwd,
                TestFailure& out, std::string_view& message) {
  text = trim(text);
  if (!names_a_place(text)) return false;
  const std::size_t colon = text.find(':');
  const std::string file = relative_to_root(std::string(text.substr(0, colon)), files, cwd);
  struct stat st {};
  if (file.empty() || !files.lstat(file, st)) return false;
  out.file = file;
  std::from_chars(text.data() + colon + 1, text.data() + text.size(), out.line);
  message = text.substr(text.find(':', colon + 1) + 1);
  while (!message.empty() && message[0] >= '0' && message[0] <= '9')
    message.remove_prefix(1);  // the column
  if (message.starts_with(':')) message.remove_prefix(1);
  message = trim(message);
  return true;
}

TestCounts parse_any(std::string_view output, const RootedFs& files, const std::string& cwd) {
  using Parse = TestCounts (*)(std::string_view, const RootedFs&, const std::string&);
  TestCounts found;
  for (const Parse parse :
       {Parse{parse_jest}, Parse{parse_node}, Parse{parse_cargo}, Parse{parse_go},
        Parse{parse_ctest}, Parse{parse_unittest}, Parse{parse_pytest}}) {
    TestCounts counts = parse(output, files, cwd);
    if (!counts.known) continue;
    if (found.known) return {};  // several runners: neither's counts are the command's
    found = std::move(counts);
  }
  return found;
}

TestReport report(const Runner& runner, const RunnerOutput& output, const std::string& status,
                  const RootedFs& files) {
  const std::string text = output.text();
  const GoEvents* const events = output.events();
  TestCounts counts = events ? events->counts(files, runner.cwd) : count(runner, text, files);
  if (status.empty()) {  // then what does not tell of its end has not failed
    const auto n = std::erase_if(counts.failures, [](const auto& one) { return one.unfinished; });
    counts.failed -= static_cast<int>(n);
  }
  const std::string said = events ? go_text(text) : "";
  TestReport out = told(runner, said.empty() ? text : said, status, counts, files);
  if (!events && output.left_out() > 0) {
    out.text += fmt::format(
        "\n[of the output, {} bytes in the middle were not kept; what tests say there is not read]",
        output.left_out());
  }
  if (counts.partial) out.text += "\n[there were more tests than are counted here]";
  out.counts = std::move(counts);
  return out;
}

}  // namespace lares::tools
