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
class SpareRepository final : public engine::Shrinker {
 public:
  // `let_go`: has it forgotten, on the io executor.
  SpareRepository(const std::shared_ptr<Beginnings>& of, asio::any_io_executor io,
                  std::function<void()> let_go)
      : Shrinker(of.get(), kSpareRepositories),
        of_(of),
        io_(std::move(io)),
        let_go_(std::move(let_go)) {}
  bool shrink() override {
    const auto of = of_.lock();
    if (!of || !of->give_up()) return false;
    asio::post(io_, let_go_);
    return true;
  }
  bool gone() const override {
    const auto of = of_.lock();
    return !of || of->given_up();
  }

 private:
  const std::weak_ptr<Beginnings> of_;
  const asio::any_io_executor io_;
  const std::function<void()> let_go_;
};

}  // namespace

struct Residents::Held {
  explicit Held(std::shared_ptr<Resident> of)
      : resident(std::move(of)), work(resident->beginnings()) {}
  const std::shared_ptr<Resident> resident;
  const Beginnings::Work work;
};

std::shared_ptr<Resident> Residents::of(const std::string& root) {
  const auto held = enter(root);
  return {held, held->resident.get()};
}

std::shared_ptr<Residents::Held> Residents::enter(const std::string& root) {
  const std::string origin = origin_to_enter(root);
  const auto of_it = origin.empty() ? nullptr : enter(origin);
  Entry& entry = residents_[root];
  entry.asked = ++asked_;
  if (!entry.resident) entry.resident = let_go_[root].lock();
  let_go_.erase(root);
  if (!entry.resident)
    entry.resident = Resident::make(world_, root, of_it ? of_it->resident : nullptr);
  const auto held = std::make_shared<Held>(entry.resident);
  held->resident->beginnings()->come();
  auto memory = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  if (engine::Engine* const engine = world_.host->engine()) {
    if (const auto sequences = engine->memory().sequences.bytes_max; sequences > 0)
      memory = std::min(memory, sequences);
    if (auto* const asks = dynamic_cast<engine::AsksShrinkers*>(engine))
      asks->ask(std::make_shared<SpareRepository>(held->resident->beginnings(), world_.io,
                                                  [this, root] { let_go_given_up(root); }));
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
  return held;
}

// Of a worktree, the repository that it was made from, if its base is not there; empty: it is, or
// the other is no worktree.
std::string Residents::origin_to_enter(const std::string& root) const {
  const auto at = residents_.find(root);
  if (at == residents_.end()) return world_.worktree_of ? world_.worktree_of(root) : "";
  const auto& from = at->second.resident->made_from();
  return from && from->beginnings()->given_up() ? from->root() : "";
}

// If nobody has come meanwhile.
void Residents::let_go_given_up(const std::string& root) {
  const auto at = residents_.find(root);
  if (at != residents_.end() && at->second.resident->beginnings()->given_up()) let_go(at);
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
