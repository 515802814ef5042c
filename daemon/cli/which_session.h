// The session a subcommand is about: the newest of this repository, unless another is named.
#pragma once

#include <string>

#include "daemon/cli/link.h"
#include "daemon/cli/options.h"
#include "daemon/protocol.h"

namespace lares::cli {

struct WhichSession {
  std::string root, session;
  DaemonOptions daemon;

  void add_to(CLI::App& app);
  Result<daemon::protocol::SessionInfo> find(Link& link);
};

}  // namespace lares::cli
