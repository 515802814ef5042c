#include "tools/shell/jobs.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
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

std::vector<int> tree_of(const sandbox::Process& process, const ShellJobs::Job& job) {
  std::vector<int> out;
  for (const int pid : job.pids) std::ranges::copy(process.tree_of(pid), std::back_inserter(out));
  return out;
}

std::vector<Fd> held(const std::vector<int>& pids) {
  std::vector<Fd> out;
  for (const int pid : pids)
    if (Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); fd)
      out.push_back(std::move(fd));
  return out;
}

bool is_over(const Fd& process) {
  pollfd at{.fd = process.get(), .events = POLLIN, .revents = 0};
  return ::poll(&at, 1, 0) > 0;
}

void send(const std::vector<Fd>& processes, int signal) {
  for (const auto& process : processes)
    ::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0);
}

// Whether all have.
boost::asio::awaitable<bool> end(std::vector<Fd>& processes) {
  const auto until = std::chrono::steady_clock::now() + kJobEndsWithin;
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor);
  for (;;) {
    std::erase_if(processes, is_over);
    if (processes.empty()) co_return true;
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
  if (any_job_runs())
    for (auto& job : shell_.jobs.running()) {
      const auto tree = tree_of(*shell_.process, job);
      if (tree.empty()) continue;  // it has ended, and the shell was not asked since
      out.push_back({.pid = job.pids.front(),
                     .host_pid = tree.front(),
                     .command = std::move(job.command),
                     .age = std::chrono::duration_cast<std::chrono::milliseconds>(now - job.seen)});
    }
  if (for_reading_) for_reading_->add_running(out);
}

std::vector<int> BashTool::stop(int host_pid) {
  if (any_job_runs())
    for (const auto& job : shell_.jobs.running()) {
      auto tree = tree_of(*shell_.process, job);
      if (tree.empty() || tree.front() != host_pid) continue;
      shell_.jobs.stopped(job.pids.front());
      return tree;
    }
  return for_reading_ ? for_reading_->stop(host_pid) : std::vector<int>();
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
  return out;
}

boost::asio::awaitable<JobStopped> stop_job(const std::vector<std::unique_ptr<Tool>>& tools,
                                            int host_pid) {
  std::vector<int> tree;
  for (const auto& tool : tools)
    if (auto* const shell = dynamic_cast<BashTool*>(tool.get()); shell && tree.empty())
      tree = shell->stop(host_pid);
  if (tree.empty()) co_return JobStopped::gone;
  auto processes = held(tree);
  send(processes, SIGTERM);
  send(processes, SIGCONT);  // a stopped one hears nothing else
  if (co_await end(processes)) co_return JobStopped::ended;
  send(processes, SIGKILL);
  (void)co_await end(processes);  // what the kernel does not let go of ends when it does
  co_return JobStopped::killed;
}

}  // namespace lares::tools
