#include "sandbox/control_paths.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "sandbox/below.h"
#include "sandbox/control_look.h"
#include "sandbox/start.h"

namespace lares::sandbox {
namespace {

constexpr std::size_t kToldMax = 8;
constexpr std::size_t kKeptMax = 8;  // worktrees, those in use aside

enum class Whose { the_users, a_commands };

// Those in use, those in which something has run since the last look (what that left must not be
// taken for the user's), and a few more, which know the tree already.
struct Shared {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<ControlPaths>> known;
};
Shared& shared() {
  static Shared all;
  return all;
}

}  // namespace

struct ControlPaths::State {
  State(std::string path, ControlLimits bounds)
      : root(std::move(path)),
        limits(bounds),
        fd(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

  void look(Whose whose) {
    if (!fd) return;
    follow(fd.get(), limits, tree);
    // Where there is too much from the start it is known; but nobody hides anything behind that.
    if ((tree.beyond || tree.unread) && !beyond && whose == Whose::a_commands)
      untold.push_back(
          {"", "",
           tree.beyond
               ? fmt::format(
                     "there are more than {} directories or {} repositories now, or more than "
                     "{} directories in each other; in the others nobody looks for git "
                     "hooks and the like",
                     limits.directories_max, limits.repositories_max, limits.depth_max)
               : fmt::format("there are more than {} new or changed files; in the others git hooks "
                             "and the like are looked for before the next command",
                             limits.entries_max),
           true});
    beyond = tree.beyond || tree.unread;
    std::set<std::string> ids;
    for (auto& found : find_control(fd.get(), root, limits, tree, guarded)) {
      if (whose == Whose::a_commands && !accepted.contains(found.id)) {
        untold.push_back({found.path, found.may_be_work ? "" : move_aside(fd.get(), found.path),
                          std::move(found.why), found.may_be_work});
        if (!untold.back().to.empty()) continue;  // else it is told once
      }
      ids.insert(std::move(found.id));
    }
    accepted = std::move(ids);
  }
  // To its end, for what is left would be taken for another's.
  void look_at_all(Whose whose) {
    do look(whose);
    while (tree.unread);
  }
  Whose whose() const { return n_active == 0 && !doubtful ? Whose::the_users : Whose::a_commands; }

  bool is_doubtful() {
    const std::lock_guard lock(mutex);
    return doubtful;
  }

  const std::string root;
  const ControlLimits limits;
  const Fd fd;
  std::mutex mutex;
  ControlTree tree;
  std::map<std::string, ino_t> guarded;  // read-only in every sandbox that lives
  std::set<std::string> accepted;  // ids of what is the user's, and of what could not be moved
  std::vector<MovedAside> untold;
  int n_inside = 0, n_active = 0;
  // Something has run since the last look, or that has not come to its end
  bool doubtful = false;
  bool beyond = false;  // of the tree, or unread, when it was last looked at
};

ControlPaths::ControlPaths(std::string root, ControlLimits limits)
    : state_(std::make_unique<State>(std::move(root), limits)) {}
ControlPaths::~ControlPaths() = default;

std::shared_ptr<ControlPaths> ControlPaths::of(const std::string& root) {
  auto& all = shared();
  const std::lock_guard lock(all.mutex);
  if (const auto known = all.known.find(root); known != all.known.end()) return known->second;
  if (all.known.size() >= kKeptMax)
    std::erase_if(all.known, [](const auto& one) {
      return one.second.use_count() == 1 && !one.second->state_->is_doubtful();
    });
  return all.known[root] = std::make_shared<ControlPaths>(root);
}

bool ControlPaths::is_busy() const {
  const std::lock_guard lock(state_->mutex);
  return state_->n_active > 0;
}

bool ControlPaths::could_change_git() const {
  const std::lock_guard lock(state_->mutex);
  if (!state_->doubtful) return false;
  struct stat status;
  const auto known = state_->guarded.find(".git");
  return known == state_->guarded.end() || !stat_of(state_->fd.get(), ".git", status) ||
         status.st_ino != known->second;
}

ControlPaths::Inside::Inside(std::shared_ptr<ControlPaths> paths) : paths_(std::move(paths)) {
  auto& state = *paths_->state_;
  const std::lock_guard lock(state.mutex);
  // With what was read-only until now: that is the user's still.
  state.look_at_all(state.whose());
  if (state.n_inside == 0) {
    state.guarded.clear();
    state.tree.named = find_named(state.root, state.tree);
    state.look_at_all(Whose::the_users);
  }
  state.doubtful = state.n_active > 0;
  if (state.n_inside++ == 0 && state.fd) state.guarded = find_guarded(state.fd.get(), state.tree);
}

ControlPaths::Inside::~Inside() {
  auto& state = *paths_->state_;
  const std::lock_guard lock(state.mutex);
  --state.n_inside;
  state.n_active -= active_;
}

void ControlPaths::Inside::begin() {
  auto& state = *paths_->state_;
  const std::lock_guard lock(state.mutex);
  if (active_) return;
  state.look_at_all(state.whose());
  active_ = state.doubtful = true;
  ++state.n_active;
}

std::vector<MovedAside> ControlPaths::Inside::end(bool idle) {
  auto& state = *paths_->state_;
  const std::lock_guard lock(state.mutex);
  state.look(Whose::a_commands);
  if (idle && active_) active_ = false, --state.n_active;
  state.doubtful = state.n_active > 0 || state.tree.unread;
  return std::exchange(state.untold, {});
}

std::string told_of(const std::vector<MovedAside>& moved) {
  std::string gone, left, beyond;
  std::size_t n_gone = 0, n_left = 0;
  for (const auto& one : moved) {
    if (one.path.empty()) {
      beyond = "[" + one.why + "]";
      continue;
    }
    const std::size_t n = one.left ? n_left++ : n_gone++;
    if (n >= kToldMax) continue;
    const std::string now = one.left         ? ""
                            : one.to.empty() ? " is still there, for it could not be moved"
                                             : " is now " + one.to;
    (one.left ? left : gone) += fmt::format("{}{} ({}){}", n ? "; " : "", one.path, one.why, now);
  }
  const auto more = [](std::size_t n) {
    return n > kToldMax ? fmt::format("; and {} more", n - kToldMax) : "";
  };
  std::string out;
  if (n_gone)
    out = fmt::format(
        "[moved aside, because it could run programs outside the sandbox: {}{}. If it is wanted, "
        "the user can move it back.]",
        gone, more(n_gone));
  if (n_left)
    out += fmt::format("{}[new or changed, and programs outside the sandbox obey it: {}{}]",
                       n_gone ? " " : "", left, more(n_left));
  if (!beyond.empty()) out += (out.empty() ? "" : " ") + beyond;
  return out;
}

}  // namespace lares::sandbox
