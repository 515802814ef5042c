// Sockets of the host's that a command could connect to: mounting their directory read-only does
// not keep it from that. Those that are there when a sandbox begins its launcher hides; here are
// those that come later.
#pragma once

#include <set>
#include <string>
#include <utility>

namespace lares::sandbox {

// (path, inode) of those with a path that somebody serves, but for places that are private in every
// sandbox.
std::set<std::pair<std::string, std::string>> host_sockets_served();

}  // namespace lares::sandbox
