// The part of the protocol that is about the background jobs of a session's shell, and its JSON;
// see protocol.h and wire.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/protocol/wire.h"

namespace lares::daemon::protocol {

struct JobInfo {
  std::int64_t pid = 0;       // by which the shell and the model name it
  std::int64_t host_pid = 0;  // the same process, as this machine numbers it
  std::string command;        // as the shell tells of it
  std::int64_t began_ms = 0;  // about: when the shell first told of it
};

// Those that run, the oldest first.
struct SessionJobs {
  static constexpr std::string_view kMethod = "session/jobs";
  std::string session_id;
};
struct SessionJobsResult {
  std::vector<JobInfo> jobs;
};

// Ends one, with all that it has started: SIGTERM, and where that does not end it, SIGKILL. The
// model is told with its next command. Errors: not_found where no job of the session is that
// process; internal where it does not end.
struct SessionStopJob {
  static constexpr std::string_view kMethod = "session/stop_job";
  std::string session_id;
  std::int64_t host_pid = 0;
};
struct SessionStopJobResult {
  bool killed = false;  // it had to be
};

template <class V>
void fields(V& v, JobInfo& x) {
  v.r("pid", x.pid);
  v.r("hostPid", x.host_pid);
  v.r("command", x.command);
  v.o("beganMs", x.began_ms);
}
template <class V>
void fields(V& v, SessionJobs& x) {
  v.r("sessionId", x.session_id);
}
template <class V>
void fields(V& v, SessionJobsResult& x) {
  v.o("jobs", x.jobs);
}
template <class V>
void fields(V& v, SessionStopJob& x) {
  v.r("sessionId", x.session_id);
  v.r("hostPid", x.host_pid);
}
template <class V>
void fields(V& v, SessionStopJobResult& x) {
  v.o("killed", x.killed);
}

}  // namespace lares::daemon::protocol
