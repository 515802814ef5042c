// The background jobs of a persistent bash, as its `jobs -l` tells of them: each end is told once.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lares::tools {

inline constexpr std::size_t kJobsToldMax = 20;  // at once

class ShellJobs {
 public:
  // What `jobs -l` printed just now. Returns a line for each job that has ended since it was last
  // taken. Jobs may have printed into the table: what stands before its first line goes to
  // `printed`; behind that it cannot be told from a command of several lines.
  std::vector<std::string> take(std::string_view table, std::string* printed = nullptr);
  bool any_runs() const { return !running_.empty(); }
  // The shell is gone, and all that ran with it: a line for each, and none runs any more.
  std::vector<std::string> killed();

 private:
  std::map<int, std::string> running_;  // by pid: the command
};

}  // namespace lares::tools
