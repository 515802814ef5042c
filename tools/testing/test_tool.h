// `test`: runs the project's tests in the sandbox and says what failed, and nothing else.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "tools/builtin.h"
#include "tools/shell/command.h"

namespace lares::tools {

// That tests get at least, however quick they were before.
inline constexpr std::chrono::milliseconds kTestsPatience{30'000};

class TestTool : public Tool {
 public:
  explicit TestTool(const BuiltinOptions& options,
                    std::chrono::milliseconds patience = kTestsPatience);
  const Spec& spec() const override { return spec_; }
  // Project code runs, with the worktree writable: build products, caches, and whatever a test
  // likes to write.
  bool mutates(const nlohmann::json&) const override { return true; }
  asio::awaitable<Result<Outcome>> run(nlohmann::json args, OnOutput on_output) override;

 private:
  asio::awaitable<Result<Outcome>> execute(std::string path, std::string filter,
                                           OnOutput on_output);
  BuiltinOptions options_;
  std::chrono::milliseconds patience_;
  // By the command that is shown: the longest run that passed, zero since one took much longer
  std::map<std::string, std::chrono::milliseconds> took_;
  Spec spec_;
};

}  // namespace lares::tools
