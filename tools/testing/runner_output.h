// What a runner has written, as far as its report needs it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "tools/testing/go_events.h"
#include "tools/testing/runner.h"

namespace lares::tools {

// The head and the tail of a long output, for counts stand at its end, and of go's all events.
class RunnerOutput {
 public:
  explicit RunnerOutput(RunnerKind kind);
  void add(std::string_view text);  // clean
  // With an empty line where something is missing.
  std::string text() const;
  std::size_t left_out() const { return left_out_; }  // bytes
  const GoEvents* events() const { return events_ ? &*events_ : nullptr; }

 private:
  static constexpr std::size_t kHeadMax = 8 << 20, kTailMax = 4 << 20;  // and up to 4 MiB more

  std::string head_, tail_;
  std::size_t left_out_ = 0;
  std::optional<GoEvents> events_;  // of RunnerKind::go
};

}  // namespace lares::tools
