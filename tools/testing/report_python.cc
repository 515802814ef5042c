// unittest's text.
#include <algorithm>
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

// One block below "FAIL: ..." or "ERROR: ...".
TestFailure read_block(const std::vector<std::string_view>& lines, std::size_t begin,
                       std::size_t end, const RootedFs& files, const std::string& cwd) {
  TestFailure out;
  std::vector<TestPlace> frames;
  std::string_view message;
  for (std::size_t i = begin; i < end; ++i) {
    TestPlace frame;
    if (read_python_frame(lines[i], files, cwd, frame)) {
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

bool read_python_frame(std::string_view line, const RootedFs& files, const std::string& cwd,
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

}  // namespace lares::tools
