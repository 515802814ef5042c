// The background jobs of the session's shell, for the people who look after it.
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "daemon/protocol/job_wire.h"
#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "daemon/utf8.h"
#include "tools/shell/jobs.h"

namespace lares::daemon {

protocol::SessionJobsResult Session::jobs() const {
  protocol::SessionJobsResult out;
  for (const auto& job : tools::running_jobs(tools_))
    out.jobs.push_back({.pid = job.pid,
                        .host_pid = job.host_pid,
                        .command = valid_utf8(job.command),
                        .began_ms = unix_ms() - job.age.count()});
  return out;
}

asio::awaitable<Reply<protocol::SessionStopJobResult>> Session::stop_job(std::int64_t host_pid) {
  auto how = tools::JobStopped::gone;
  if (host_pid > 0 && host_pid <= std::numeric_limits<int>::max()) {
    auto stopping = tools::stop_job(tools_, static_cast<int>(host_pid));
    how = co_await std::move(stopping);
  }
  if (how == tools::JobStopped::gone)
    co_return tl::unexpected(
        refusal(protocol::Code::not_found,
                fmt::format("stop process {}: no background job of session {} is that one",
                            host_pid, info_.session_id)));
  if (how == tools::JobStopped::stays)
    co_return tl::unexpected(
        refusal(protocol::Code::internal,
                fmt::format("stop process {}: it does not end; it may be another user's, or wait "
                            "for a disk: see `ps -p {}`, and end it with that user's rights",
                            host_pid, host_pid)));
  world_.log->event("job_stopped",
                    {{"session", info_.session_id}, {"killed", how == tools::JobStopped::killed}});
  co_return protocol::SessionStopJobResult{.killed = how == tools::JobStopped::killed};
}

}  // namespace lares::daemon
