// The background jobs of a persistent bash, as its `jobs -l` tells of them: each end is told once.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lares::tools {

inline constexpr std::size_t kJobsToldMax = 20;  // at once

class ShellJobs {
 public:
  using Clock = std::chrono::steady_clock;
  struct Job {
    std::vector<int> pids;  // of a pipeline in its order, the one bash names the job by first
    std::string command;
    Clock::time_point seen;  // first
    bool stopped = false;    // by the user: its end is no news
  };

  // What `jobs -l` printed just now. Returns a line for each job that has ended since it was last
  // taken, but for those the user stopped. Jobs may have printed into the table: what stands before
  // its first line goes to `printed`; behind that it cannot be told from a command of several
  // lines.
  std::vector<std::string> take(std::string_view table, std::string* printed = nullptr);
  bool any_runs() const;
  std::vector<Job> running() const;  // those the user has not stopped, the oldest first
  // The user ends that one.
  void stopped(int pid);
  // A line for each that the user has stopped since this was last asked.
  std::vector<std::string> stopped_by_user();
  // The shell is gone, and all that ran with it: a line for each, and none runs any more.
  std::vector<std::string> killed();

 private:
  std::map<int, Job> running_;  // by the first pid
  std::vector<std::string> stopped_;
};

}  // namespace lares::tools
