// The session a subcommand is about, unless another is named: the newest of this repository, or the
// one that works.
#pragma once

#include <string>
#include <vector>

#include "daemon/cli/options.h"
#include "daemon/client/link.h"
#include "daemon/protocol/protocol.h"

namespace lares::cli {

// Of a list that begins with the newest, those that have a prompt; where `may_change`, without
// those of a single question, which changed nothing, unless there are no others. A review is none:
// what it finds is to be mended.
void keep_about(std::vector<daemon::protocol::SessionInfo>& sessions, bool may_change);

struct WhichSession {
  std::string root, session;
  DaemonOptions daemon;
  bool may_change = false;  // by default the newest that is not a question

  void add_to(CLI::App& app);
  // And by its id alone, of a command that takes no other word.
  void add_named_to(CLI::App& app);
  Result<daemon::protocol::SessionInfo> find(Link& link);
};

// Starts no daemon: where none runs, no session works.
struct WhichRunning {
  std::string root, session;
  DaemonOptions daemon;

  void add_to(CLI::App& app);
  // A named one whether it works or not.
  Result<daemon::protocol::SessionInfo> find(Link& link);
};

}  // namespace lares::cli
