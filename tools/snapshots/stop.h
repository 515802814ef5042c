// The process ends, and nobody waits for a snapshot any longer: the first of a large worktree would
// take half a minute. For all of them at once, as the end is.
#pragma once

namespace lares::tools {

void stop_snapshots(bool stop = true);
bool snapshots_stop();  // any thread

}  // namespace lares::tools
