// unittest's text and pytest's.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "tools/testing/report.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

// The number after `key` in "failures=2, skipped=1".
int count_after(std::string_view text, std::string_view key) {
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos || (at > 0 && text[at - 1] != '(' && text[at - 1] != ' '))
    return 0;
  return number_at(text.substr(at + key.size()));
}

// `  File "PATH", line N, in NAME`
bool read_frame(std::string_view line, const RootedFs& files, const std::string& cwd,
                TestPlace& out) {
  line = trim(line);
  if (!line.starts_with("File \"")) return false;
  const std::size_t quote = line.find('"', 6);
  const std::size_t number = line.find(", line ", quote);
  if (quote == std::string_view::npos || number == std::string_view::npos) return false;
  out.file = relative_to_root(std::string(line.substr(6, quote - 6)), files, cwd);
  out.line = number_at(line.substr(number + 7));
  return true;
}

// One block below "FAIL: ..." or "ERROR: ...".
TestFailure read_block(const std::vector<std::string_view>& lines, std::size_t begin,
                       std::size_t end, const RootedFs& files, const std::string& cwd) {
  TestFailure out;
  std::vector<TestPlace> frames;
  std::string_view message;
  for (std::size_t i = begin; i < end; ++i) {
    TestPlace frame;
    if (read_frame(lines[i], files, cwd, frame)) {
      if (!frame.file.empty()) frames.push_back(frame);
      message = {};
    } else if (message.empty() && !lines[i].empty() && lines[i][0] != ' ' &&
               !lines[i].starts_with("Traceback") && !lines[i].starts_with("-----") && i > begin) {
      message = lines[i];
    }
  }
  if (frames.empty()) {
    for (std::size_t i = end; message.empty() && i-- > begin;) message = trim(lines[i]);
    if (!message.empty()) out.detail.push_back(bounded_line(message));
    return out;
  }
  // The last frame in the file of the test itself: what it asserted. Where the error rose elsewhere
  // is said below it.
  const std::string test_file = frames.front().file;
  const auto last = std::find_if(frames.rbegin(), frames.rend(),
                                 [&](const TestPlace& f) { return f.file == test_file; });
  out.file = last->file;
  out.line = last->line;
  if (frames.back().file != out.file) out.rose = frames.back();
  if (!message.empty()) out.detail.push_back(bounded_line(message));
  return out;
}

// Of the line that ends a run, "2 failed, 1 passed in 0.04s", between rules or not: how many there
// were of each. Much that is printed beside tests counts errors or what passed, too.
using PytestCounts = std::map<std::string_view, int>;
std::optional<PytestCounts> pytest_counts(std::string_view line) {
  constexpr std::string_view kAround = "= \t\r", kDigits = "0123456789",
                             kWord = "abcdefghijklmnopqrstuvwxyz ";
  line.remove_prefix(std::min(line.find_first_not_of(kAround), line.size()));
  const std::size_t in = line.find(" in ");
  if (in == std::string_view::npos) return std::nullopt;
  const std::string_view time = line.substr(in + 4);
  const std::size_t seconds = time.find_first_not_of("0123456789.");
  if (seconds == 0 || seconds == std::string_view::npos || time[seconds] != 's')
    return std::nullopt;
  PytestCounts out;
  std::string_view said = line.substr(0, in);
  if (said == "no tests ran") return out;
  while (!said.empty()) {
    const std::string_view part = said.substr(0, said.find(", "));
    const std::size_t blank = part.find_first_not_of(kDigits);
    if (blank == 0 || blank == std::string_view::npos || part[blank] != ' ' ||
        part.find_first_not_of(kWord, blank) != std::string_view::npos)
      return std::nullopt;
    out[part.substr(blank + 1)] = number_at(part);
    said.remove_prefix(std::min(part.size() + 2, said.size()));
  }
  return out;
}

// "Ran 3 tests in 0.001s", and not jest's "Ran all test suites.".
bool is_ran(std::string_view line) {
  return line.starts_with("Ran ") && line.size() > 4 && line[4] >= '0' && line[4] <= '9' &&
         line.find(" test") != std::string_view::npos &&
         line.find(" in ") != std::string_view::npos;
}

bool is_rule(std::string_view line, char c) {
  return line.size() >= 70 && line.find_first_not_of(c) == std::string_view::npos;
}

}  // namespace

TestCounts parse_unittest(std::string_view output, const RootedFs& files, const std::string& cwd) {
  TestCounts out;
  const auto lines = split_lines(output);
  std::set<std::string> failing;
  int outside_tests = 0;  // setUpClass and its like: failures that "Ran N tests" does not count
  std::size_t ran = lines.size();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (is_ran(lines[i])) ran = i;
  }
  if (ran == lines.size()) return out;
  out.known = true;
  const int n_ran = number_at(lines[ran].substr(4));
  for (std::size_t i = ran; i < lines.size(); ++i) {
    if (!lines[i].starts_with("OK") && !lines[i].starts_with("FAILED") &&
        !lines[i].starts_with("NO TESTS RAN"))
      continue;
    out.none = lines[i].starts_with("NO TESTS RAN");  // since Python 3.12
    out.skipped = count_after(lines[i], "skipped=");
  }
  for (std::size_t i = 0; i + 1 < ran; ++i) {
    if (!is_rule(lines[i], '=')) continue;
    const std::string_view title = lines[i + 1];
    const bool unexpected = title.starts_with("UNEXPECTED SUCCESS: ");
    if (!unexpected && !title.starts_with("FAIL: ") && !title.starts_with("ERROR: ")) continue;
    const std::string_view name = title.substr(title.find(": ") + 2);
    std::size_t end = i + 2;
    while (end < ran && !is_rule(lines[end], '=') &&
           !(is_rule(lines[end], '-') && end > i + 4 && end + 1 >= ran))
      ++end;
    TestFailure failure = unexpected ? TestFailure{} : read_block(lines, i + 2, end, files, cwd);
    if (unexpected)
      failure.detail.push_back("passed, although it is marked as an expected failure");
    const std::size_t open = name.find(" ("), close = name.find(')', open);
    failure.name = name.substr(0, open);
    const std::string id(name.substr(0, close == std::string_view::npos ? close : close + 1));
    if (close != std::string_view::npos && close + 1 < name.size())
      failure.name += bounded_line(name.substr(close + 1));
    if (failing.insert(id).second &&
        (failure.name == "setUpClass" || failure.name == "tearDownClass" ||
         failure.name == "setUpModule" || failure.name == "tearDownModule")) {
      ++outside_tests;
    }
    out.failures.push_back(std::move(failure));
  }
  out.failed = static_cast<int>(failing.size());
  // "Ran" counts skipped tests too, except whole classes that were skipped.
  out.total = std::max(n_ran - out.skipped, 0) + outside_tests;
  out.total = std::max(out.total, out.failed);
  return out;
}

TestCounts parse_pytest(std::string_view output, const RootedFs& files, const std::string& cwd) {
  TestCounts out;
  const auto lines = split_lines(output);
  for (std::size_t i = lines.size(); i-- > 0 && !out.known;) {
    auto counts = pytest_counts(lines[i]);
    if (!counts) continue;
    out.failed = (*counts)["failed"] + (*counts)["error"] + (*counts)["errors"];
    out.total = out.failed + (*counts)["passed"];
    out.skipped = (*counts)["skipped"];
    // None of the asked name is none, too; those that were to fail are some.
    out.none = std::ranges::none_of(*counts, [](const auto& one) {
      return one.second > 0 && one.first != "deselected" && !one.first.starts_with("warning");
    });
    out.known = out.none || out.total + out.skipped > 0;
  }
  if (!out.known) return out;
  // "____ test_name ____", a short traceback "path:12: in f" with its source line, and "E message"
  // lines.
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = lines[i];
    if (!line.starts_with("___") || !line.ends_with("_")) continue;
    std::string_view name = line;
    while (name.starts_with('_')) name.remove_prefix(1);
    while (name.ends_with('_')) name.remove_suffix(1);
    name = trim(name);
    if (name.empty()) continue;
    TestFailure failure;
    constexpr std::string_view kCollecting = "ERROR collecting ";
    const bool loaded = !name.starts_with(kCollecting);
    failure.name = !loaded ? "(did not load)"
                           : name.substr(name.rfind('.') == std::string_view::npos ||
                                                 name.find('[') != std::string_view::npos
                                             ? 0
                                             : name.rfind('.') + 1);
    std::vector<TestPlace> frames;
    std::string message;
    for (std::size_t k = i + 1;
         k < lines.size() && !lines[k].starts_with("___") && !lines[k].starts_with("==="); ++k) {
      const std::size_t colon = lines[k].find(':');
      const std::size_t in = lines[k].find(": in ");
      if (in != std::string_view::npos && colon < in) {
        const std::string file = relative_to_root(std::string(lines[k].substr(0, colon)), files,
                                                  cwd);
        if (!file.empty()) frames.push_back({file, number_at(lines[k].substr(colon + 1))});
      } else if (message.empty() && lines[k].starts_with("E ")) {
        message = bounded_line(trim(lines[k].substr(1)));
      }
    }
    if (!frames.empty()) {
      failure.file = frames.front().file;
      for (const TestPlace& frame : frames) {
        if (frame.file == failure.file) failure.line = frame.line;
      }
      if (frames.back().file != failure.file) failure.rose = frames.back();
    }
    if (!loaded && frames.empty())
      failure.file = relative_to_root(std::string(name.substr(kCollecting.size())), files, cwd);
    if (!message.empty()) failure.detail.push_back(message);
    out.failures.push_back(std::move(failure));
  }
  return out;
}

}  // namespace lares::tools
