#include "tools/snapshots/progress.h"

#include <map>
#include <mutex>
#include <utility>

namespace lares::tools {
namespace {

std::mutex mutex;
std::map<std::string, ScanProgress> scans;  // by root

}  // namespace

std::optional<ScanProgress> scan_progress(const std::string& root) {
  const std::lock_guard lock(mutex);
  const auto at = scans.find(root);
  return at == scans.end() ? std::nullopt : std::optional(at->second);
}

ScanTold::ScanTold(std::string root) : root_(std::move(root)) { at(0, 0); }

ScanTold::~ScanTold() {
  const std::lock_guard lock(mutex);
  scans.erase(root_);
}

void ScanTold::at(std::size_t done, std::size_t total) {
  const std::lock_guard lock(mutex);
  scans[root_] = {done, total};
}

}  // namespace lares::tools
