// What a test run is told as: counts, and of every failure the place, the line and the message.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/testing/runner.h"
#include "tools/workspace/rooted_fs.h"

namespace lares::tools {

struct TestPlace {
  std::string file;  // relative to the root; "" when not known
  int line = 0;
};

// The source lines are read when it is told, for few of thousands are.
struct TestFailure : TestPlace {
  std::string name;
  TestPlace rose;                   // where the error did, when that is elsewhere
  std::vector<std::string> detail;  // what was said
  bool unfinished = false;          // nothing says how it ended
};

struct TestCounts {
  bool known = false;    // the output was understood
  bool none = false;     // the runner says itself that it found no tests, whatever its exit status
  std::string besides;   // where there are none: what else it says, which may be why
  bool partial = false;  // of more tests than are counted
  int total = 0;         // run: passed and failed
  int failed = 0, skipped = 0;
  std::vector<TestFailure> failures;
};

// `output` is clean text. `files` is the root; `cwd` the directory that the runner ran in.
TestCounts parse_unittest(std::string_view output, const RootedFs& files, const std::string& cwd);
TestCounts parse_pytest(std::string_view output, const RootedFs& files, const std::string& cwd);
TestCounts parse_node(std::string_view output, const RootedFs& files, const std::string& cwd);
TestCounts parse_jest(std::string_view output, const RootedFs& files,
                      const std::string& cwd);  // and vitest
TestCounts parse_cargo(std::string_view output, const RootedFs& files, const std::string& cwd);
TestCounts parse_go(std::string_view output, const RootedFs& files, const std::string& cwd);
TestCounts parse_ctest(std::string_view output, const RootedFs& files, const std::string& cwd);
// Of a command that may run anything: what the one runner wrote whose words these are.
TestCounts parse_any(std::string_view output, const RootedFs& files, const std::string& cwd);

struct TestReport {
  std::string text;
  bool ok = false;
  bool whole = true;  // nothing of the output that may be wanted was left out
  TestCounts counts{};
};

class RunnerOutput;

inline constexpr std::size_t kFailuresMax = 10, kReportBytesMax = 8000;
// a failing run that said no more than this needs no file of its own
inline constexpr std::size_t kOutputKnownBytes = 2000;

// `status`: "exit status 2", "killed by signal 9"; "" when the command succeeded. Reads source
// files, so not for the io thread.
TestReport report(const Runner& runner, const RunnerOutput& output, const std::string& status,
                  const RootedFs& files);

// Helpers that the parsers share.
std::string relative_to_root(std::string path, const RootedFs& files,
                             const std::string& cwd);  // "" when outside
std::string_view trim(std::string_view text);
// "f (/a/b.js:2:12)" or "at /a/b.js:2:12" or "file:///a/b.mjs:2:12": file and line, when below the
// root and no package's.
bool read_js_place(std::string_view text, const RootedFs& files, const std::string& cwd,
                   std::string& file, int& line);
// `  File "PATH", line N, in NAME`; the file is "" when outside.
bool read_python_frame(std::string_view line, const RootedFs& files, const std::string& cwd,
                       TestPlace& out);
// "src/a.c:12: message", "/shop/src/a.c:12:5: message": file, line and message, when below the
// root.
bool read_place(std::string_view text, const RootedFs& files, const std::string& cwd,
                TestFailure& out, std::string_view& message);
int number_at(std::string_view text);  // that it begins with; 0: none
std::string bounded_line(std::string_view text);

}  // namespace lares::tools
