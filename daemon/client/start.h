// Reaching the daemon, starting it when none runs.
#pragma once

#include <functional>
#include <string>

#include "daemon/client/error.h"
#include "daemon/client/link.h"

namespace lares::cli {

// Where the daemon is, and what one is started with where none runs.
struct DaemonAddress {
  std::string socket;
  std::string state_dir;  // empty: it cannot be found, so none can be started
  std::string model;      // empty: the settings' or the default
};

struct Reached {
  protocol::InitializeResult daemon;
  bool started = false;  // by this call
};

// Connects `link`. When nobody listens, starts laresd, which lies beside this executable, in a
// session of its own, and waits until it answers; `waiting` hears about that several times a
// second. Several CLIs that find no daemon start one between them. A daemon that ends or stays
// silent gives an error with the last lines of its log, and is not left behind; neither is it when
// the wait is interrupted.
Result<Reached> reach(Link& link, const DaemonAddress& address,
                      const std::function<void(double seconds)>& waiting);
// Connects `link` to a daemon that runs and starts none: an error of kind absent where there is
// none.
Result<protocol::InitializeResult> rejoin(Link& link, const DaemonAddress& address);

// That the daemon, which `started` says this command started or not, serves the model that was
// asked for.
Result<> serves_model(Link& link, const DaemonAddress& address, bool started);

// Ends the daemon if it could not load its model: whoever started it is to leave none that is of no
// use.
void end_useless_daemon(Link& link);

}  // namespace lares::cli
