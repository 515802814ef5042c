#include "daemon/residents.h"

#include <algorithm>

namespace lares::daemon {

std::shared_ptr<Resident> Residents::of(const std::string& root) {
  Entry& entry = residents_[root];
  entry.asked = ++asked_;
  if (!entry.resident) entry.resident = Resident::make(world_, root);
  const auto resident = entry.resident;
  while (residents_.size() > kResidentsMax)
    residents_.erase(std::min_element(residents_.begin(), residents_.end(), [](const auto& a, const auto& b) { return a.second.asked < b.second.asked; }));
  return resident;
}

std::shared_ptr<Resident> Residents::find(const std::string& root) const {
  const auto at = residents_.find(root);
  return at == residents_.end() ? nullptr : at->second.resident;
}

std::vector<std::shared_ptr<Resident>> Residents::all() const {
  std::vector<std::shared_ptr<Resident>> out;
  for (const auto& [root, entry] : residents_) out.push_back(entry.resident);
  return out;
}

}  // namespace lares::daemon
