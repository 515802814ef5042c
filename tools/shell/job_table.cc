#include "tools/shell/job_table.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::size_t kCommandShownBytesMax = 120;

struct Line {
  int pid = 0;
  std::string state, command;
};

std::string_view without_ampersand(std::string_view command) {
  command = trimmed(command);
  return command.ends_with('&') ? trimmed(command.substr(0, command.size() - 1)) : command;
}

// "123 Running                 sleep 9 &": the state is one word, or Exit and its number, and
// stands in a column of its own. That of a pipeline's later members may be empty.
std::optional<Line> read(std::string_view line) {
  const auto digit = line.find_first_of("0123456789");
  if (digit == std::string_view::npos) return std::nullopt;
  Line out;
  const auto [end, ec] = std::from_chars(line.data() + digit, line.data() + line.size(), out.pid);
  if (ec != std::errc()) return std::nullopt;
  line = trimmed(line.substr(static_cast<std::size_t>(end - line.data())));
  if (line.starts_with("| ")) {  // with any blanks
    out.command = without_ampersand(line);
    return out;
  }
  const auto column = line.find("  ");
  out.state = line.substr(0, column);
  if (column != std::string_view::npos) out.command = without_ampersand(line.substr(column));
  return out;
}

// "[1]-  123 Running                 sleep 9 &"
std::optional<Line> read_job(std::string_view line) {
  const auto bracket = line.find(']');
  if (!line.starts_with('[') || bracket == std::string_view::npos) return std::nullopt;
  return read(line.substr(bracket + 1));
}

// "       124                         | cat &": another process of the job's pipeline, whose state
// stands with the first. One that has ended before it still tells of the job.
std::optional<Line> read_further(std::string_view line) {
  const auto begin = line.find_first_not_of(' ');
  if (begin == 0 || begin == std::string_view::npos || line[begin] < '0' || line[begin] > '9')
    return std::nullopt;
  auto out = read(line);
  if (!out || !out->command.starts_with("| ")) return std::nullopt;
  return out;
}

std::string shown(const std::string& command) {
  std::string out = command.substr(0, utf8_floor(command, kCommandShownBytesMax));
  if (out.size() < command.size()) out += "...";
  return out;
}

std::string ended(int pid, const std::string& command, const std::string& state) {
  if (state.empty())
    return fmt::format("[background job {} is no longer among the shell's jobs: {}]", pid,
                       shown(command));
  return fmt::format("[background job {} ended: {}: {}]", pid, shown(command),
                     state == "Done" ? "exit code 0" : state);
}

void bound(std::vector<std::string>& lines, std::string_view what) {
  const std::size_t n = lines.size();
  if (n <= kJobsToldMax) return;
  lines.resize(kJobsToldMax);
  lines.push_back(fmt::format("[and {} more background jobs {}]", n - kJobsToldMax, what));
}

}  // namespace

std::vector<std::string> ShellJobs::take(std::string_view table, std::string* printed) {
  struct Listed {
    std::string state;
    Job job;
  };
  std::vector<Listed> listed;
  while (!table.empty()) {
    const auto end = table.find('\n');
    if (auto line = read_job(table.substr(0, end))) {
      listed.push_back({std::move(line->state),
                        {.pids = {line->pid}, .command = std::move(line->command), .seen = {}}});
    } else if (listed.empty()) {
      if (printed) printed->append(table.substr(0, end == std::string_view::npos ? end : end + 1));
    } else if (auto further = read_further(table.substr(0, end))) {
      listed.back().job.pids.push_back(further->pid);
      listed.back().job.command += ' ' + further->command;
    }
    table.remove_prefix(end == std::string_view::npos ? table.size() : end + 1);
  }
  std::vector<std::string> out;
  const auto over = [&](int pid, const Job& job, const std::string& state) {
    if (job.stopped)
      stopped_.push_back(
          fmt::format("[background job {} was stopped by the user: {}]", pid, shown(job.command)));
    else
      out.push_back(ended(pid, job.command, state));
  };
  std::map<int, Job> now;
  for (auto& [state, job] : listed) {
    const int pid = job.pids.front();
    const auto known = running_.extract(pid);
    job.seen = known ? known.mapped().seen : Clock::now();
    job.stopped = known && known.mapped().stopped;
    if (state == "Running" || state.starts_with("Stopped"))
      now[pid] = std::move(job);
    else
      over(pid, job, state);
  }
  // bash forgets one that was waited for, disowned or killed by a signal: how it ended is not known
  // here.
  for (const auto& [pid, job] : running_) over(pid, job, "");
  running_ = std::move(now);
  bound(out, "ended");
  return out;
}

bool ShellJobs::any_runs() const {
  return std::ranges::any_of(running_, [](const auto& job) { return !job.second.stopped; });
}

std::vector<ShellJobs::Job> ShellJobs::running() const {
  std::vector<Job> out;
  for (const auto& [pid, job] : running_)
    if (!job.stopped) out.push_back(job);
  std::ranges::stable_sort(out, {}, &Job::seen);
  return out;
}

void ShellJobs::stopped(int pid) {
  if (const auto job = running_.find(pid); job != running_.end()) job->second.stopped = true;
}

std::vector<std::string> ShellJobs::stopped_by_user() {
  auto out = std::exchange(stopped_, {});
  bound(out, "were stopped");
  return out;
}

std::vector<std::string> ShellJobs::killed() {
  std::vector<std::string> out = stopped_by_user();
  for (const auto& [pid, job] : std::exchange(running_, {}))
    out.push_back(fmt::format("[background job {} was {}: {}]", pid,
                              job.stopped ? "stopped by the user" : "killed with the shell",
                              shown(job.command)));
  bound(out, "were killed");
  return out;
}

}  // namespace lares::tools
