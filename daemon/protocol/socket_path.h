// Where the daemon listens and keeps its state, for both ends.
#pragma once

#include <string>

#include <tl/expected.hpp>

namespace lares::daemon {

// `given` (--socket), else $LARES_SOCKET, else $XDG_RUNTIME_DIR/lares/lares.sock, else
// /tmp/lares-<uid>/lares.sock. The error is one line; a path longer than a socket address holds
// (107 bytes) is one.
tl::expected<std::string, std::string> socket_path(const std::string& given = {});

// `given` (--state-dir), else $LARES_STATE_DIR, else $XDG_STATE_HOME/lares, else
// ~/.local/state/lares.
tl::expected<std::string, std::string> state_dir(const std::string& given = {});

// Where a checkpoint's tiles lie that may not lie beside it: $XDG_CACHE_HOME/lares/tiles, else
// ~/.cache/lares/tiles; empty where neither is known.
std::string tiles_dir();

}  // namespace lares::daemon
