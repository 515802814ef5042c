// The whole daemon around an engine: builds every object and hands each what it needs. main() gives
// it the real engine, tests a scripted one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/engine_host.h"
#include "daemon/http/limits.h"
#include "daemon/log.h"
#include "daemon/server/client_limits.h"
#include "daemon/session/session.h"
#include "daemon/session/sessions.h"
#include "daemon/turn/turn.h"

namespace lares::daemon {

class Router;

struct DaemonOptions {
  std::string socket, state_dir;           // absolute
  std::string model_directory;             // what server/status says
  std::string sandbox_launcher;            // path of lares-sandbox
  std::string mcp_config;                  // the user's own; empty: no MCP servers
  std::vector<std::string> network_allow;  // hosts that commands may reach
  int command_timeout_ms = 0;              // of commands and of the tests; 0: the tools' own
  std::string config_dir;   // the user's own hooks.json and AGENTS.md; empty: neither
  std::string home;         // where the user's own skills are; empty: none
  std::string listen;       // parse_listen_address() takes it; empty: no TCP
  std::string listen_hint;  // how another address is given, where this one cannot be had
  bool listen_without_token = false;
  TurnSettings defaults;
  Wake wake = Wake::attended;
  std::string effort;  // of clients of the API dialects that ask for none; empty: the most
  std::int64_t resident_tokens = 0;  // of a repository, before every session; 0: kResidentTokens
  EngineHost::Load load;
  HttpLimits http_limits;
  ClientLimits client_limits;
  KeptLimits kept_limits;
  std::function<void(Router&)> more_routes;  // HTTP handlers of a test's own
};

// Serves until a client or a signal (TERM, INT) ends it. Returns the exit status; what kept it from
// starting is one line on stderr.
int run_daemon(const DaemonOptions& options, const Log& log);

}  // namespace lares::daemon
