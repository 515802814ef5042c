// ctest's text, and in it what GoogleTest and its like say of a failing test.
#include <map>

#include "tools/testing/report.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::string_view kSummary = "% tests passed, ";
constexpr std::size_t kSaidLinesMax = 4000, kDetailLinesMax = 8;  // of one test

struct Test {
  std::vector<std::string_view> said;
};

// "2/7 Test #2: bad ......***Failed    0.01 sec": the name, and how it ended.
bool read_result(std::string_view line, std::string_view& name, std::string_view& how) {
  const std::size_t slash = line.find('/'), mark = line.find(" Test ");
  if (slash == std::string_view::npos || mark == std::string_view::npos || slash > mark)
    return false;
  const std::size_t number = line.find('#', mark), colon = line.find(": ", number);
  if (number == std::string_view::npos || colon == std::string_view::npos) return false;
  const std::size_t end = line.find(" .", colon + 2);
  name = trim(line.substr(colon + 2, end == std::string_view::npos
                                         ? line.find("***", colon) - colon - 2
                                         : end - colon - 2));
  how = line.substr(end == std::string_view::npos ? colon : end);
  return true;
}

// The first place in the repository that the test names, with what stands below it; else its last
// lines.
void read_said(const std::vector<std::string_view>& said, const RootedFs& files,
               const std::string& cwd, TestFailure& out) {
  for (std::size_t i = 0; i < said.size(); ++i) {
    std::string_view message;
    if (said[i].find(": warning:") != std::string_view::npos ||
        !read_place(said[i], files, cwd, out, message))
      continue;
    if (!message.empty() && message != "Failure") out.detail.push_back(bounded_line(message));
    for (std::size_t k = i + 1; k < said.size() && out.detail.size() < kDetailLinesMax; ++k) {
      if (trim(said[k]).empty() || said[k].starts_with("[  FAILED  ]")) break;
      out.detail.push_back(bounded_line(said[k]));
    }
    return;
  }
  for (std::size_t i = said.size() - std::min(said.size(), kDetailLinesMax); i < said.size(); ++i)
    out.detail.push_back(bounded_line(trim(said[i])));
}

}  // namespace

TestCounts parse_ctest(std::string_view output, const RootedFs& files, const std::string& cwd) {
  TestCounts out;
  std::map<std::string, Test, std::less<>> tests;
  Test* current = nullptr;
  bool in_list = false;
  const auto lines = split_lines(output);
  // A test may run ctest itself, and have its output told: the last summary is the outer one's.
  std::size_t summary = 0;
  for (std::size_t i = 0; i < lines.size(); ++i)
    if (lines[i].find(kSummary) != std::string_view::npos) summary = i;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = lines[i], bare = trim(line);
    std::string_view name, how;
    if (read_result(bare, name, how)) {
      current = &tests[std::string(name)];
      const bool disabled = how.find("Not Run (Disabled)") != std::string_view::npos;
      if (disabled || how.find("***Skipped") != std::string_view::npos) ++out.skipped;
      if (disabled) ++out.total;  // "out of N" counts skipped tests, but not these
    } else if (const std::size_t at = bare.find(kSummary);
               i == summary && at != std::string_view::npos) {
      out.known = true;
      out.failed = number_at(bare.substr(at + kSummary.size()));
      out.total += number_at(bare.substr(bare.find("out of ") + 7));
      current = nullptr;
    } else if (bare.starts_with("No tests were found")) {
      out.known = out.none = true;
    } else if (i > summary && bare.starts_with("The following tests FAILED")) {
      in_list = true;
    } else if (const std::size_t dash = bare.find(" - ");
               in_list && dash != std::string_view::npos) {
      const std::size_t open = bare.rfind(" (");
      TestFailure failure;
      failure.name = bare.substr(dash + 3, open == std::string_view::npos ? open : open - dash - 3);
      const std::string_view ended = open == std::string_view::npos ? "" : bare.substr(open);
      if (const auto found = tests.find(failure.name); found != tests.end())
        read_said(found->second.said, files, cwd, failure);
      if (!ended.empty() && ended != " (Failed)")
        failure.name += ended;  // Timeout, SEGFAULT, Not Run
      out.failures.push_back(std::move(failure));
    } else if (current && !bare.empty() && !bare.starts_with("Start ") &&
               current->said.size() < kSaidLinesMax) {
      current->said.push_back(line);
    }
  }
  out.total -= out.skipped;
  return out;
}

}  // namespace lares::tools
