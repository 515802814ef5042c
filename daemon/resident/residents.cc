#include "daemon/resident/residents.h"

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include <boost/asio/post.hpp>

#include "daemon/spare.h"

namespace lares::daemon {
namespace {

// What is evaluated of a repository that nobody works with, for whoever needs the memory.
class SpareResident final : public engine::Shrinker {
 public:
  // `let_go`: has it forgotten, on the io executor.
  SpareResident(const std::shared_ptr<Resident>& resident, asio::any_io_executor io,
                std::function<void()> let_go)
      : Shrinker(resident.get(), kSpareRepositories),
        resident_(resident),
        io_(std::move(io)),
        let_go_(std::move(let_go)) {}
  bool shrink() override {
    auto resident = resident_.lock();
    if (given_up_ || !resident || resident.use_count() > kHolders) return false;
    if (resident->page_bytes() == 0 && !resident->is_worktree()) return false;
    given_up_ = true;
    // So that the background does not go on with it either
    static_cast<Beginnings&>(*resident->shared()).keep({});
    // There it may be the last to hold it
    asio::post(io_, [let_go = let_go_, resident = std::move(resident)] { let_go(); });
    return true;
  }
  bool gone() const override { return given_up_ || resident_.expired(); }

 private:
  // Whose it is, and shrink(). A turn, a look at the files, and a worktree of it are more.
  static constexpr long kHolders = 2;

  const std::weak_ptr<Resident> resident_;
  const asio::any_io_executor io_;
  const std::function<void()> let_go_;
  bool given_up_ = false;  // under the lock that shrink() is called under
};

}  // namespace

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
  auto memory = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  if (engine::Engine* const engine = world_.host->engine()) {
    if (const auto sequences = engine->memory().sequences.bytes_max; sequences > 0)
      memory = std::min(memory, sequences);
    if (auto* const asks = dynamic_cast<engine::AsksShrinkers*>(engine))
      asks->ask(std::make_shared<SpareResident>(
          resident, world_.io, [this, root, which = std::weak_ptr<Resident>(resident)] {
            const auto at = residents_.find(root);
            if (at != residents_.end() && at->second.resident == which.lock()) let_go(at);
          }));
  }
  const std::uint64_t bytes_max = memory / kResidentMemoryShare;
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
