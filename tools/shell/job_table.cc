#include "tools/shell/job_table.h"

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

// "[1]-  123 Running                 sleep 9 &": the state is one word, or Exit and its number, and
// stands in a column of its own. Further lines of a pipeline have no bracket, and say nothing of
// the job.
std::optional<Line> read(std::string_view line) {
  const auto bracket = line.find(']');
  if (!line.starts_with('[') || bracket == std::string_view::npos) return std::nullopt;
  line.remove_prefix(bracket + 1);
  const auto digit = line.find_first_of("0123456789");
  if (digit == std::string_view::npos) return std::nullopt;
  Line out;
  const auto [end, ec] = std::from_chars(line.data() + digit, line.data() + line.size(), out.pid);
  if (ec != std::errc()) return std::nullopt;
  line = trimmed(line.substr(static_cast<std::size_t>(end - line.data())));
  const auto column = line.find("  ");
  out.state = line.substr(0, column);
  std::string_view command = column == std::string_view::npos ? std::string_view()
                                                              : trimmed(line.substr(column));
  if (command.ends_with('&')) command = trimmed(command.substr(0, command.size() - 1));
  out.command = command;
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
  std::vector<std::string> out;
  bool begun = false;
  std::map<int, std::string> now;
  while (!table.empty()) {
    const auto end = table.find('\n');
    if (auto line = read(table.substr(0, end))) {
      begun = true;
      running_.erase(line->pid);
      if (line->state == "Running" || line->state.starts_with("Stopped"))
        now[line->pid] = std::move(line->command);
      else
        out.push_back(ended(line->pid, line->command, line->state));
    } else if (!begun && printed) {
      printed->append(table.substr(0, end == std::string_view::npos ? end : end + 1));
    }
    table.remove_prefix(end == std::string_view::npos ? table.size() : end + 1);
  }
  // bash forgets one that was waited for, disowned or killed by a signal: how it ended is not known
  // here.
  for (const auto& [pid, command] : running_) out.push_back(ended(pid, command, ""));
  running_ = std::move(now);
  bound(out, "ended");
  return out;
}

std::vector<std::string> ShellJobs::killed() {
  std::vector<std::string> out;
  for (const auto& [pid, command] : std::exchange(running_, {}))
    out.push_back(
        fmt::format("[background job {} was killed with the shell: {}]", pid, shown(command)));
  bound(out, "were killed");
  return out;
}

}  // namespace lares::tools
