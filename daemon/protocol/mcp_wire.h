// The parts of the protocol that are about MCP; see protocol.h.
#pragma once

#include <string_view>

namespace lares::daemon::protocol {

// session/mcp_servers {sessionId, servers}: the servers that a client brings for a session, beside
// those of the user's own mcp.json;
// {"NAME": {...}} as a .mcp.json has them, or [{"name": NAME, ...}] as ACP does. They replace those
// of an earlier call, and are forgotten when the daemon ends. -> {"problems": [...]}, one line for
// each that is not used. Errors: invalid_params, not_found, busy while a turn runs.
inline constexpr std::string_view kSessionMcpServers = "session/mcp_servers";

// How `lares mcp` says to the daemon's MCP server, before its client says anything, which
// repository it was started in: a notification {"root": "/..."}.
inline constexpr std::string_view kMcpRootNotification = "notifications/lares/root";

}  // namespace lares::daemon::protocol
