// All that is kept of sessions below the state directory: journals, tails that were cut off them,
// summaries, and the outputs of calls. Blocks on the disk; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace lares::daemon {

std::map<std::string, std::uint64_t> bytes_of_sessions(const std::string& state_dir,
                                                       const std::vector<std::string>& ids);

// The journal goes last: what a crash leaves of a removal is a session without its outputs. Why the
// journal could not be removed, so that the next start finds it again; empty: it is.
std::string remove_session(const std::string& state_dir, const std::string& id);

}  // namespace lares::daemon
