// The views of a repository that one call of a tool, or one look of the watcher, leaves to the
// next: libgit2 1.5 loses memory at every opening (view.h).
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/git/view.h"

namespace lares::tools {

inline constexpr std::size_t kKeptViewsMax = 3;  // as many as are in use at once, but for bursts

// On any thread. A view is one thread's at a time: between take() and give_back() nobody else has
// it.
class KeptView {
 public:
  explicit KeptView(std::string root) : root_(std::move(root)) {}

  // What git says below the root as it is now. Whoever asks while others have all that were kept
  // gets one of its own.
  Result<GitView> take() {
    std::optional<GitView> kept;
    {
      const std::lock_guard lock(mutex_);
      if (!kept_.empty()) {
        kept.emplace(std::move(kept_.back()));
        kept_.pop_back();
      }
    }
    return kept ? kept->again() : GitView::open(root_);
  }
  void give_back(GitView view) {
    const std::lock_guard lock(mutex_);
    if (kept_.size() < kKeptViewsMax) kept_.push_back(std::move(view));
  }
  const std::string& root() const { return root_; }

 private:
  const std::string root_;
  std::mutex mutex_;
  std::vector<GitView> kept_;
};

}  // namespace lares::tools
