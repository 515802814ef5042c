// Which command runs a project's tests. Found by looking, never by running.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace lares::tools {

enum class RunnerKind { unittest, pytest, node, jest, cargo, go, ctest, generic };

struct Runner {
  RunnerKind kind = RunnerKind::generic;
  std::string shown;  // the command as it is named in results
  // What is started; may ask for a form that is easier to read than `shown` gives
  std::vector<std::string> argv;
  std::string cwd;    // absolute
  std::string note;   // what of the request the runner cannot do
  bool weak = false;  // only test files lie there, no sign of a project: one further up is meant
  bool filtered = false;  // only tests of a certain name are asked for
  // Below /tmp, for what the runner remembers: of this run alone, for no test may depend on an
  // earlier one. "": it remembers nothing
  std::string scratch = std::string();
};

// `path`: a file or directory below `root`, relative or absolute, or "" for all; `filter`: part of
// a test's name, or "". The error says what was looked for.
tl::expected<Runner, std::string> find_runner(const std::string& root, const std::string& path,
                                              const std::string& filter);

}  // namespace lares::tools
