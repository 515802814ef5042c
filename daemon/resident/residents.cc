#include "daemon/resident/residents.h"

#include <unistd.h>

#include <algorithm>
#include <numeric>

namespace lares::daemon {

std::shared_ptr<Resident> Residents::of(const std::string& root) {
  const bool known = residents_.contains(root);
  const std::string origin = known || !world_.worktree_of ? "" : world_.worktree_of(root);
  const auto of_it = origin.empty() ? nullptr : of(origin);
  Entry& entry = residents_[root];
  entry.asked = ++asked_;
  if (!entry.resident) entry.resident = let_go_[root].lock();
  let_go_.erase(root);
  if (!entry.resident) entry.resident = Resident::make(world_, root, of_it);
  const auto resident = entry.resident;
  const auto bytes_max = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                         static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) / kResidentMemoryShare;
  const auto bytes = [&] {
    return std::accumulate(
        residents_.begin(), residents_.end(), std::uint64_t{0},
        [](std::uint64_t sum, const auto& r) { return sum + r.second.resident->page_bytes(); });
  };
  let_go_beyond(kResidentsMax, /*worktrees=*/false);
  let_go_beyond(kWorktreeResidentsMax, /*worktrees=*/true);
  while (residents_.size() > 1 && bytes() > bytes_max)
    let_go(std::min_element(residents_.begin(), residents_.end(), [](const auto& a, const auto& b) {
      return a.second.asked < b.second.asked;
    }));
  return resident;
}

void Residents::let_go_beyond(std::size_t n_max, bool worktrees) {
  for (;;) {
    std::size_t n = 0;
    auto oldest = residents_.end();
    for (auto at = residents_.begin(); at != residents_.end(); ++at) {
      if (at->second.resident->is_worktree() != worktrees) continue;
      ++n;
      if (oldest == residents_.end() || at->second.asked < oldest->second.asked) oldest = at;
    }
    if (n <= n_max) return;
    let_go(oldest);
  }
}

void Residents::let_go(std::map<std::string, Entry>::iterator which) {
  std::erase_if(let_go_, [](const auto& r) { return r.second.expired(); });
  let_go_[which->first] = which->second.resident;
  residents_.erase(which);
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
