// Sockets of the host's that a command could connect to: mounting their directory read-only does
// not keep it from that. Those that are there when a sandbox begins its launcher hides; here are
// those that come later.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace lares::sandbox {

struct HostSocket {
  std::string path;  // absolute
  std::string inode;
  bool served = false;  // else one end of a connection, or nobody listens yet
};
// Those with a path. What was bound by a relative one the kernel tells as it was given: it is where
// a process that holds the socket works now, of those that we may look at.
std::vector<HostSocket> host_sockets();

// (path, inode) of those that somebody serves, but for places that are private in every sandbox.
std::set<std::pair<std::string, std::string>> host_sockets_served();

}  // namespace lares::sandbox
