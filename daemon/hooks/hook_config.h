// The user's hooks: commands that run before and after tool calls, and when a turn ends. From the
// user's own configuration only, for they run with the user's rights: a repository's would be run
// on the word of whoever wrote it.
//
//   {"before_tool": [{"tools": ["bash"], "command": "...", "timeout_ms": 60000}],
//    "after_tool": [...], "turn_end": [...]}
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace lares::daemon {

inline constexpr int kHookTimeoutMs = 60'000, kHookTimeoutMsMax = 600'000;
inline constexpr std::size_t kHooksMax = 64, kHookConfigBytesMax = 1u << 20;

struct Hook {
  std::vector<std::string> tools;  // names; none: all
  std::string command;             // of /bin/sh
  int timeout_ms = kHookTimeoutMs;
  bool is_for(std::string_view tool) const;
};

struct HookConfig {
  std::vector<Hook> before_tool, after_tool, turn_end;
};

// Of the file at `path`; where there is none, or path is empty, there are no hooks. The error names
// what is wrong, and where.
tl::expected<HookConfig, std::string> read_hooks(const std::string& path);
tl::expected<HookConfig, std::string> parse_hooks(std::string_view text);

}  // namespace lares::daemon
