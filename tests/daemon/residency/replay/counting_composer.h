// The daemon's renderer with a tokenizer that only counts, which is all that replaying a history
// asks of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "daemon/residency/rebase.h"

namespace lares::daemon {

inline constexpr std::int64_t kPromptHeadTokens = 1'000;  // before the tree

// What the design was measured with: bytes per token over C++, Python and Markdown.
inline std::int64_t by_bytes(std::string_view text) {
  return (static_cast<std::int64_t>(text.size()) * 100 + 348) / 349;
}

struct CountingOptions {
  std::int64_t budget_tokens = kLargeBudget;
  std::function<double(const std::string& path)> changes;  // of late, decayed; any unit
};

Composer counting_composer(CountingOptions options);

}  // namespace lares::daemon
