// Background jobs of a session's tools, for whoever looks after the session.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "tools/tool.h"

namespace lares::tools {

// One told to end is killed when it has not within this.
inline constexpr std::chrono::milliseconds kJobEndsWithin{2000};

struct RunningJob {
  int pid = 0;       // by which its shell and the model name it
  int host_pid = 0;  // the same process, as this machine numbers it
  std::string command;
  std::chrono::milliseconds age{};  // since its shell first told of it
};

// Whether one runs, as far as was heard: Tool::news() tells its end.
bool any_job_runs(const std::vector<std::unique_ptr<Tool>>& tools);

// Those that run now, the oldest first.
std::vector<RunningJob> running_jobs(const std::vector<std::unique_ptr<Tool>>& tools);

enum class JobStopped { gone, ended, killed, stays };

// Ends it, with all that runs below it: SIGTERM, and after kJobEndsWithin SIGKILL. When it has ended
// the next command of its shell tells the model that the user has done so; news() does not. gone:
// none of these is `host_pid`; stays: it may not be ended, or does not. The tools may go away
// meanwhile.
boost::asio::awaitable<JobStopped> stop_job(const std::vector<std::unique_ptr<Tool>>& tools,
                                            int host_pid);

}  // namespace lares::tools
