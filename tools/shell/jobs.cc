#include "tools/shell/jobs.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "tools/fd.h"
#include "tools/shell/bash_tool.h"
#include "tools/shell/command.h"

namespace lares::tools {
namespace {

constexpr std::chrono::milliseconds kLookEvery{20};
constexpr std::size_t kProcessesMax = 4096;  // of one job: as many as are looked at

// Of each job, its processes as the host numbers them.
std::vector<std::vector<int>> trees_of(const sandbox::Process& process,
                                       const std::vector<ShellJobs::Job>& jobs) {
  std::vector<int> pids;
  for (const auto& job : jobs) pids.insert(pids.end(), job.pids.begin(), job.pids.end());
  const auto found = process.trees_of(pids);
  std::vector<std::vector<int>> out;
  std::size_t at = 0;
  for (const auto& job : jobs) {
    auto& tree = out.emplace_back();
    for (std::size_t i = 0; i < job.pids.size(); ++i, ++at)
      tree.insert(tree.end(), found[at].begin(), found[at].end());
  }
  return out;
}

struct Held {
  int pid = 0;
  Fd process;
};

bool is_over(const Held& one) {
  pollfd at{.fd = one.process.get(), .events = POLLIN, .revents = 0};
  return ::poll(&at, 1, 0) > 0;
}

bool send(const Held& one, int signal) {
  return ::syscall(SYS_pidfd_send_signal, one.process.get(), signal, nullptr, 0) == 0;
}

void hold(int pid, std::vector<Held>& held) {
  if (std::ranges::find(held, pid, &Held::pid) != held.end()) return;
  if (Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); fd)
    held.push_back({pid, std::move(fd)});
}

// Stops them, so that none starts another one unseen, and holds those that they have started.
void stop_all(std::vector<Held>& held) {
  std::erase_if(held, is_over);
  for (std::size_t i = 0; i < held.size() && held.size() < kProcessesMax; ++i) {
    send(held[i], SIGSTOP);
    for (const int child : sandbox::descendants_of(held[i].pid)) hold(child, held);
  }
}

// Whether all have ended.
boost::asio::awaitable<bool> end(std::vector<Held>& held) {
  const auto until = std::chrono::steady_clock::now() + kJobEndsWithin;
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor);
  for (;;) {
    std::erase_if(held, is_over);
    if (held.empty()) co_return true;
    if (std::chrono::steady_clock::now() >= until) co_return false;
    timer.expires_after(kLookEvery);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
}

const BashTool* shell_among(const std::unique_ptr<Tool>& tool) {
  return dynamic_cast<const BashTool*>(tool.get());
}

}  // namespace

bool BashTool::any_job_runs() const {
  return shell_.process && shell_.jobs.any_runs() && !has_ended(shell_.process->pid());
}

void BashTool::add_running(std::vector<RunningJob>& out) const {
  const auto now = ShellJobs::Clock::now();
  if (any_job_runs()) {
    const auto jobs = shell_.jobs.running();
    const auto trees = trees_of(*shell_.process, jobs);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (trees[i].empty()) continue;  // it has ended, and the shell was not asked since
      out.push_back(
          {.pid = jobs[i].pids.front(),
           .host_pid = trees[i].front(),
           .command = jobs[i].command,
           .age = std::chrono::duration_cast<std::chrono::milliseconds>(now - jobs[i].seen)});
    }
  }
  if (for_reading_) for_reading_->add_running(out);
}

BashTool::Found BashTool::job_of(int host_pid) {
  if (any_job_runs()) {
    const auto jobs = shell_.jobs.running();
    auto trees = trees_of(*shell_.process, jobs);
    for (std::size_t i = 0; i < jobs.size(); ++i)
      if (!trees[i].empty() && trees[i].front() == host_pid)
        return {this, jobs[i].pids.front(), std::move(trees[i])};
  }
  return for_reading_ ? for_reading_->job_of(host_pid) : Found();
}

bool any_job_runs(const std::vector<std::unique_ptr<Tool>>& tools) {
  return std::ranges::any_of(tools, [](const auto& tool) {
    const auto* const shell = shell_among(tool);
    return shell && shell->any_job_runs();
  });
}

std::vector<RunningJob> running_jobs(const std::vector<std::unique_ptr<Tool>>& tools) {
  std::vector<RunningJob> out;
  for (const auto& tool : tools)
    if (const auto* const shell = shell_among(tool)) shell->add_running(out);
  std::ranges::stable_sort(out, std::ranges::greater(), &RunningJob::age);
  return out;
}

boost::asio::awaitable<JobStopped> stop_job(const std::vector<std::unique_ptr<Tool>>& tools,
                                            int host_pid) {
  BashTool::Found job;
  for (const auto& tool : tools)
    if (auto* const shell = dynamic_cast<BashTool*>(tool.get()); shell && !job.shell)
      job = shell->job_of(host_pid);
  if (!job.shell) co_return JobStopped::gone;
  std::vector<Held> held;
  for (const int pid : job.tree) hold(pid, held);
  stop_all(held);
  bool may = false;
  for (const auto& one : held) {
    may |= send(one, SIGTERM);
    send(one, SIGCONT);
  }
  if (!may && !held.empty()) co_return JobStopped::stays;
  job.shell->is_stopped(job.pid);
  if (co_await end(held)) co_return JobStopped::ended;
  stop_all(held);
  for (const auto& one : held) send(one, SIGKILL);
  if (co_await end(held)) co_return JobStopped::killed;
  co_return JobStopped::stays;
}

}  // namespace lares::tools
