// The project's tests run once for somebody who is not the model: counts, and the summary that the
// tool `test` gives.
#pragma once

#include <string>

#include <boost/asio/awaitable.hpp>

#include "tools/builtin.h"
#include "tools/tool.h"

namespace lares::tools {

struct TestRun {
  bool ran = false;  // else `text` says why not
  bool passed = false;
  bool timed_out = false;  // after BuiltinOptions::command_timeout_ms: neither passed nor failed
  bool counted = false;  // the output was understood
  int total = 0, failed = 0, skipped = 0;
  std::string text;
};

// In the sandbox. `command`: for a shell; empty: the runner that the tool finds. Cancelling kills
// what runs.
asio::awaitable<Result<TestRun>> run_tests(BuiltinOptions options, std::string command);

}  // namespace lares::tools
