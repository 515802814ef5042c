#include "tools/snapshots/stop.h"

#include <atomic>

namespace lares::tools {
namespace {

std::atomic<bool> stopped = false;

}  // namespace

void stop_snapshots(bool stop) { stopped = stop; }
bool snapshots_stop() { return stopped; }

}  // namespace lares::tools
