// The session a subcommand is about, unless another is named: the newest of this repository, or the
// one that works.
#pragma once

#include <string>
#include <vector>

#include "daemon/cli/options.h"
#include "daemon/client/link.h"
#include "daemon/protocol/protocol.h"

namespace lares::cli {

// any: whatever was said in it; changes: one that may have changed something; to_go_on: or a
// review, for what that finds is to be mended.
enum class Wanted { any, changes, to_go_on };
// Of a list that begins with the newest, those that have a prompt and are wanted. Where there are
// only sessions of a single question, those.
void keep_about(std::vector<daemon::protocol::SessionInfo>& sessions, Wanted wanted);

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
