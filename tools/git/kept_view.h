// The view of a repository that one call of a tool leaves to the next: libgit2 1.5 loses memory at
// every opening (view.h).
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "tools/git/view.h"

namespace lares::tools {

// On any thread.
class KeptView {
 public:
  explicit KeptView(std::string root) : root_(std::move(root)) {}

  // What git says below the root as it is now. Whoever asks while another has it gets one of its
  // own.
  Result<GitView> take() {
    std::optional<GitView> kept;
    {
      const std::lock_guard lock(mutex_);
      kept.swap(kept_);
    }
    return kept ? kept->again() : GitView::open(root_);
  }
  void give_back(GitView view) {
    const std::lock_guard lock(mutex_);
    kept_ = std::move(view);
  }

 private:
  const std::string root_;
  std::mutex mutex_;
  std::optional<GitView> kept_;
};

}  // namespace lares::tools
